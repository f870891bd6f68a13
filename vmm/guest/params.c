/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Strict on purpose: a misspelt key that is ignored gives a measurement of something else. No
 * library calls, because there is no C library on bare metal.
 */
#include <stdbool.h>
#include <stddef.h>

#include "params.h"

/* A piece of the command line; never zero-terminated. */
struct word {
    const char *begin, *end;
};

struct number_key {
    const char *name;
    size_t offset;
    uint64_t min, max;
};

#define NUMBER(field, min, max) {#field, offsetof(struct guest_params, field), min, max}

static const struct number_key number_keys[] = {
    NUMBER(iodepth, 1, GUEST_MAX_IODEPTH),
    NUMBER(bs, 512, 1 << 20),
    NUMBER(blocks, 0, UINT64_MAX),
    NUMBER(queues, 1, GUEST_MAX_QUEUES),
    NUMBER(disk, 0, GUEST_MAX_DEVICES - 1),
    NUMBER(random, 0, 1),
    NUMBER(irq, 0, 1),
    NUMBER(indirect, 0, 1),
    NUMBER(marks, 0, 1),
    NUMBER(plugs, 0, 1000000),
    NUMBER(ms, 1, 86400000),
    NUMBER(warmup_ms, 0, 86400000),
    NUMBER(think_ns, 0, 1000000000),
    NUMBER(reads, 1, 1000000000),
    NUMBER(keys, 1, GUEST_MAX_KEYS),
    NUMBER(leds, 0, 7),
    NUMBER(seed, 0, UINT64_MAX),
    NUMBER(smp, 1, GUEST_MAX_CPUS),
    NUMBER(tsc_khz, 1, 100000000),
    NUMBER(draw, 0, 1),
    NUMBER(draw_cpu, 0, GUEST_MAX_CPUS - 1),
    NUMBER(draw_fps, 0, 1000),
    NUMBER(draw_frames, 0, 1000000000),
};

static const char *const mode_names[] = {"blk", "idle", "pio", "draw", "keys", NULL};
static const char *const transport_names[] = {"auto", "mmio", "pci", NULL};
static const char *const draw_names[] = {"text", "fill", "scroll", "noise", "pattern", NULL};
static const char *const rw_names[] = {"read", "write", "mixed", "verify", NULL};

static bool word_is(struct word w, const char *text)
{
    const char *p = w.begin;

    while (p < w.end && *text && *p == *text)
        p++, text++;
    return p == w.end && !*text;
}

/* The part of *rest before the separator; *rest keeps what follows it. */
static struct word word_cut(struct word *rest, char separator)
{
    struct word head = *rest;

    for (head.end = head.begin; head.end < rest->end && *head.end != separator; head.end++)
        ;
    rest->begin = head.end < rest->end ? head.end + 1 : rest->end;
    return head;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Decimal, or hexadecimal with 0x; the whole word, without overflow. */
static bool parse_number(struct word w, uint64_t *value)
{
    unsigned base = 10;

    if (w.end - w.begin > 2 && w.begin[0] == '0' && (w.begin[1] == 'x' || w.begin[1] == 'X')) {
        base = 16;
        w.begin += 2;
    }
    if (w.begin == w.end)
        return false;
    *value = 0;
    for (; w.begin < w.end; w.begin++) {
        unsigned digit = (unsigned)digit_value(*w.begin);

        if (digit >= base || __builtin_mul_overflow(*value, base, value) ||
            __builtin_add_overflow(*value, digit, value))
            return false;
    }
    return true;
}

static bool parse_name(struct word w, const char *const *names, uint64_t *value)
{
    for (*value = 0; names[*value]; (*value)++)
        if (word_is(w, names[*value]))
            return true;
    return false;
}

/* pio:ADDRESS:SIZE or mmio:ADDRESS:SIZE */
static bool parse_register(struct word w, struct guest_register *reg)
{
    static const char *const space_names[] = {"pio", "mmio", NULL};
    struct word space = word_cut(&w, ':'), address = word_cut(&w, ':');

    if (!parse_name(space, space_names, &reg->space) || !parse_number(address, &reg->address) ||
        !parse_number(w, &reg->size))
        return false;
    if (reg->size != 1 && reg->size != 2 && reg->size != 4 &&
        !(reg->size == 8 && reg->space == GUEST_MMIO))
        return false;
    if (reg->address & (reg->size - 1))
        return false;
    return reg->address < (reg->space == GUEST_PIO ? 0x10000u : 0x100000000u);
}

static bool parse_hammer(struct word w, struct guest_params *params)
{
    params->register_count = 0;
    if (word_is(w, "none"))
        return true;
    if (w.end > w.begin && w.end[-1] == ',')
        return false;
    do {
        if (params->register_count == GUEST_MAX_REGISTERS ||
            !parse_register(word_cut(&w, ','), &params->registers[params->register_count]))
            return false;
        params->register_count++;
    } while (w.begin < w.end);
    return true;
}

/* virtio_mmio=BASE:STRIDE:COUNT, all below 4 GiB */
static bool parse_slots(struct word w, struct guest_params *params)
{
    struct word base = word_cut(&w, ':'), stride = word_cut(&w, ':');

    params->slots_given = 1;
    return parse_number(base, &params->slot_base) && parse_number(stride, &params->slot_stride) &&
           parse_number(w, &params->slot_count) && params->slot_base < 0x100000000u &&
           params->slot_base % 4 == 0 && params->slot_stride % 4 == 0 &&
           params->slot_stride >= 0x200 && params->slot_stride <= 0x1000000 &&
           params->slot_count >= 1 && params->slot_count <= GUEST_MAX_DEVICES &&
           params->slot_base + params->slot_stride * params->slot_count <= 0x100000000u;
}

/* Linux's virtio_mmio.device=SIZE[K]@BASE:IRQ[:ID], which VMMs append by themselves. */
static bool parse_device(struct word w, struct guest_params *params)
{
    struct word size = word_cut(&w, '@'), base = word_cut(&w, ':'), irq = word_cut(&w, ':');
    uint64_t ignored, address;

    if (size.end > size.begin && (size.end[-1] == 'K' || size.end[-1] == 'k'))
        size.end--;
    if (!parse_number(size, &ignored) || !parse_number(base, &address) ||
        !parse_number(irq, &ignored) || (w.begin < w.end && !parse_number(w, &ignored)))
        return false;
    if (address > 0xfffffe00u || address % 4 || params->device_count == GUEST_MAX_DEVICES)
        return false;
    params->devices[params->device_count++] = address;
    return true;
}

/* fb=ADDRESS:WIDTHxHEIGHT:STRIDE, XRGB8888, all of it below 4 GiB */
static bool parse_screen(struct word w, struct guest_params *params)
{
    struct word base = word_cut(&w, ':'), width = word_cut(&w, 'x'), height = word_cut(&w, ':');

    return parse_number(base, &params->fb_base) && parse_number(width, &params->fb_width) &&
           parse_number(height, &params->fb_height) && parse_number(w, &params->fb_stride) &&
           params->fb_width >= 1 && params->fb_width <= GUEST_MAX_SCREEN &&
           params->fb_height >= 1 && params->fb_height <= GUEST_MAX_SCREEN &&
           params->fb_stride >= params->fb_width * 4 && params->fb_stride <= 65536 &&
           params->fb_stride % 4 == 0 && params->fb_base % 4 == 0 &&
           params->fb_base < 0x100000000u &&
           params->fb_base + params->fb_stride * params->fb_height <= 0x100000000u;
}

static bool parse_number_key(const struct number_key *key, struct word value,
                             struct guest_params *params)
{
    uint64_t number;

    if (!parse_number(value, &number) || number < key->min || number > key->max)
        return false;
    *(uint64_t *)((char *)params + key->offset) = number;
    return true;
}

/* 1: stored, 0: bad value, -1: no such key */
static int parse_pair(struct word key, struct word value, struct guest_params *params)
{
    for (size_t i = 0; i < sizeof(number_keys) / sizeof(number_keys[0]); i++)
        if (word_is(key, number_keys[i].name))
            return parse_number_key(&number_keys[i], value, params);
    if (word_is(key, "mode"))
        return parse_name(value, mode_names, &params->mode);
    if (word_is(key, "rw"))
        return parse_name(value, rw_names, &params->rw);
    if (word_is(key, "transport"))
        return parse_name(value, transport_names, &params->transport);
    if (word_is(key, "draw_kind"))
        return parse_name(value, draw_names, &params->draw_kind);
    if (word_is(key, "fb"))
        return parse_screen(value, params);
    if (word_is(key, "hammer"))
        return parse_hammer(value, params);
    if (word_is(key, "virtio_mmio"))
        return parse_slots(value, params);
    if (word_is(key, "virtio_mmio.device"))
        return parse_device(value, params);
    return -1;
}

/* "why: word" on one line: bytes that could break the line or the reader's terminal are masked. */
static void complain(char *error, const char *why, struct word w)
{
    char *end = error + GUEST_ERROR_SIZE - 1;

    while (*why && error < end)
        *error++ = *why++;
    for (; w.begin < w.end && error < end; w.begin++)
        *error++ = *w.begin >= ' ' && *w.begin < 0x7f ? *w.begin : '?';
    *error = 0;
}

/* Why the values do not fit together, or NULL. */
static const char *contradiction(const struct guest_params *params)
{
    if (params->bs % 512)
        return "bs is not a multiple of 512";
    if (params->queues > params->iodepth)
        return "queues exceeds iodepth";
    if (params->mode == GUEST_MODE_PIO && !params->register_count)
        return "mode=pio needs a register (hammer=)";
    if (params->mode == GUEST_MODE_DRAW && params->draw_cpu)
        return "mode=draw draws on CPU 0 (draw_cpu=)";
    if (params->draw && params->mode != GUEST_MODE_DRAW && !params->draw_cpu)
        return "draw=1 needs a CPU of its own: mode=draw, or smp=2";
    if (params->draw && params->draw_cpu >= params->smp)
        return "draw_cpu is not below smp";
    return NULL;
}

/* What follows from other values: a CPU that draws is the last one unless it is said which. */
static void complete(struct guest_params *params)
{
    if (params->mode == GUEST_MODE_DRAW)
        params->draw = 1;
    if (params->draw_cpu == GUEST_MAX_CPUS)
        params->draw_cpu = params->mode == GUEST_MODE_DRAW ? 0 : params->smp - 1;
}

static const struct guest_params defaults = {
    .mode = GUEST_MODE_BLK,
    .rw = GUEST_RW_READ,
    .iodepth = 32,
    .bs = 4096,
    .queues = 1,
    .random = 1,
    .indirect = 1,
    .ms = 1000,
    .warmup_ms = 100,
    .reads = 10000,
    .keys = 16,
    .seed = 1,
    .smp = 1,
    .register_count = 1,
    .registers = {{GUEST_PIO, 0x3fd, 1}},
    .slot_base = 0xfeb00000,
    .slot_stride = 512,
    .slot_count = 24,
    .draw_cpu = GUEST_MAX_CPUS, /* not said */
    .draw_fps = 30,
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int guest_params_parse(struct guest_params *params, const char *cmdline, char *error)
{
    const struct word nothing = {cmdline, cmdline};
    const char *problem;

    *params = defaults;
    while (*cmdline) {
        struct word whole, key, value;
        int outcome;

        if (is_blank(*cmdline)) {
            cmdline++;
            continue;
        }
        whole.begin = cmdline;
        while (*cmdline && !is_blank(*cmdline))
            cmdline++;
        whole.end = cmdline;
        value = whole;
        key = word_cut(&value, '=');
        outcome = parse_pair(key, value, params);
        if (outcome <= 0) {
            complain(error, outcome ? "unknown parameter: " : "bad value: ", whole);
            return -1;
        }
    }
    complete(params);
    problem = contradiction(params);
    if (problem) {
        complain(error, problem, nothing);
        return -1;
    }
    return 0;
}
