/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line of JSON on the serial port. Every byte is an exit, so the line is built in memory,
 * printed once, after the measurement, and says nothing twice.
 */
#include "guest.h"

struct line {
    char *text;
    unsigned length;
    bool comma; /* the next item needs one */
};

static void put(struct line *line, const char *text)
{
    while (*text && line->length < GUEST_LINE_SIZE - 1)
        line->text[line->length++] = *text++;
}

static void put_number(struct line *line, uint64_t value, unsigned base)
{
    char digits[24];
    unsigned i = sizeof(digits) - 1;

    digits[i] = 0;
    do {
        digits[--i] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    put(line, digits + i);
}

static void key(struct line *line, const char *name)
{
    if (line->comma)
        put(line, ",");
    put(line, "\"");
    put(line, name);
    put(line, "\":");
    line->comma = true;
}

static void number(struct line *line, const char *name, uint64_t value)
{
    key(line, name);
    put_number(line, value, 10);
}

static void string(struct line *line, const char *name, const char *value)
{
    key(line, name);
    put(line, "\"");
    put(line, value);
    put(line, "\"");
}

static void open_object(struct line *line, const char *name)
{
    key(line, name);
    put(line, "{");
    line->comma = false;
}

static void close_object(struct line *line)
{
    put(line, "}");
    line->comma = true;
}

/* count per second of the measured window */
static uint64_t per_second(const struct guest *g, uint64_t count)
{
    uint64_t us = guest_ticks_to_ns(g, g->result.elapsed) / 1000;

    return us ? count * 1000000 / us : 0;
}

static void access_fields(struct line *line, const struct guest *g, const struct guest_histogram *h)
{
    number(line, "reads", h->count);
    number(line, "reads_per_s", per_second(g, h->count));
    number(line, "mean_ns", guest_ticks_to_ns(g, guest_histogram_mean(h)));
    number(line, "p50_ns", guest_ticks_to_ns(g, guest_histogram_quantile(h, 500)));
    number(line, "p99_ns", guest_ticks_to_ns(g, guest_histogram_quantile(h, 990)));
    number(line, "max_ns", guest_ticks_to_ns(g, h->max));
}

static void params_fields(struct line *line, const struct guest *g)
{
    static const char *const modes[] = {"blk", "idle", "pio", "draw", "keys"};
    static const char *const rws[] = {"read", "write", "mixed", "verify"};
    const struct guest_params *params = &g->params;

    string(line, "mode", modes[params->mode]);
    number(line, "smp", params->smp);
    number(line, "seed", params->seed);
    number(line, "think_ns", params->think_ns);
    number(line, "ms", params->ms);
    number(line, "tsc_khz", g->tick_khz);
    number(line, "elapsed_ns", guest_ticks_to_ns(g, g->result.elapsed));
    number(line, "elapsed_ticks", g->result.elapsed);
    if (params->mode != GUEST_MODE_BLK)
        return;
    string(line, "rw", rws[params->rw]);
    number(line, "bs", params->bs);
    number(line, "iodepth", params->iodepth);
    number(line, "disk", params->disk);
    number(line, "random", params->random);
    number(line, "irq", params->irq);
    number(line, "warmup_ms", params->warmup_ms);
}

static void blk_object(struct line *line, const struct guest *g)
{
    const struct guest_result *result = &g->result;
    const struct guest_histogram *h = &result->latency;

    open_object(line, "blk");
    string(line, "transport", g->blk.virtio.ops->name);
    number(line, "msix", g->blk.virtio.msix);
    number(line, "msix_pending", g->blk.msix_pending);
    number(line, "queues", g->blk.queue_count);
    number(line, "indirect", g->blk.indirect);
    number(line, "event_idx", g->blk.event_idx);
    number(line, "blocks", result->blocks);
    number(line, "ops", result->ops);
    number(line, "reads", result->reads);
    number(line, "writes", result->writes);
    number(line, "iops", per_second(g, result->ops));
    number(line, "errors", result->errors);
    number(line, "kicks", result->kicks);
    open_object(line, "lat_ns");
    number(line, "mean", guest_ticks_to_ns(g, guest_histogram_mean(h)));
    number(line, "p50", guest_ticks_to_ns(g, guest_histogram_quantile(h, 500)));
    number(line, "p99", guest_ticks_to_ns(g, guest_histogram_quantile(h, 990)));
    number(line, "max", guest_ticks_to_ns(g, h->max));
    close_object(line);
    close_object(line);
    if (g->params.rw != GUEST_RW_VERIFY)
        return;
    open_object(line, "verify");
    number(line, "wrong_blocks", result->wrong_blocks);
    number(line, "wrong_bytes", result->wrong_bytes);
    close_object(line);
}

static void put_register(struct line *line, const struct guest_register *reg)
{
    key(line, "reg");
    put(line, reg->space == GUEST_PIO ? "\"pio:0x" : "\"mmio:0x");
    put_number(line, reg->address, 16);
    put(line, ":");
    put_number(line, reg->size, 10);
    put(line, "\"");
}

/* What the hammering CPUs saw, by register and in total. Uses hammers[0], which no CPU records
 * into, as the place to merge into. */
static void access_object(struct line *line, struct guest *g)
{
    struct guest_histogram *merged = g->hammers[0].latency;

    open_object(line, "access");
    key(line, "registers");
    put(line, "[");
    for (uint64_t i = 0; i < g->params.register_count; i++) {
        for (unsigned cpu = 1; cpu < g->params.smp; cpu++)
            guest_histogram_merge(&merged[i], &g->hammers[cpu].latency[i]);
        put(line, i ? ",{" : "{");
        line->comma = false;
        put_register(line, &g->params.registers[i]);
        access_fields(line, g, &merged[i]);
        put(line, "}");
    }
    put(line, "]");
    line->comma = true;
    for (uint64_t i = 1; i < g->params.register_count; i++)
        guest_histogram_merge(&merged[0], &merged[i]);
    open_object(line, "total");
    access_fields(line, g, &merged[0]);
    close_object(line);
    close_object(line);
}

static void draw_object(struct line *line, const struct guest *g)
{
    static const char *const kinds[] = {"text", "fill", "scroll", "noise", "pattern"};

    open_object(line, "draw");
    string(line, "kind", kinds[g->params.draw_kind]);
    number(line, "cpu", g->params.draw_cpu);
    number(line, "width", g->screen.width);
    number(line, "height", g->screen.height);
    number(line, "frames", g->drawn.frames);
    number(line, "pixels", g->drawn.pixels);
    number(line, "frames_per_s", per_second(g, g->drawn.frames));
    close_object(line);
}

static void bytes(struct line *line, const char *name, const uint8_t *values, unsigned count)
{
    key(line, name);
    put(line, "[");
    for (unsigned i = 0; i < count; i++) {
        put(line, i ? "," : "");
        put_number(line, values[i], 10);
    }
    put(line, "]");
}

static void keys_fields(struct line *line, const struct guest *g)
{
    number(line, "leds", g->params.leds);
    number(line, "mouse_id", (uint64_t)g->keys.mouse_id);
    bytes(line, "keys", g->keys.keyboard, g->keys.keyboard_count);
    bytes(line, "mouse", g->keys.mouse, g->keys.mouse_count);
}

void guest_print(const struct guest *g, const char *text)
{
    while (*text)
        platform_pio_write(g->platform, GUEST_PORT_SERIAL, (uint8_t)*text++, 1);
}

void guest_report(struct guest *g)
{
    struct line line = {.text = g->line};

    if (g->status && g->status != GUEST_DATA_WRONG) {
        guest_print(g, "guest: ");
        guest_print(g, g->error);
        guest_print(g, "\n");
        return;
    }
    put(&line, "{");
    number(&line, "bqlscope_guest", 1);
    params_fields(&line, g);
    if (g->params.mode == GUEST_MODE_BLK)
        blk_object(&line, g);
    if (g->params.mode == GUEST_MODE_PIO) {
        open_object(&line, "pio");
        access_fields(&line, g, &g->result.pio);
        close_object(&line);
    }
    if (g->params.mode == GUEST_MODE_KEYS)
        keys_fields(&line, g);
    if (g->params.draw)
        draw_object(&line, g);
    access_object(&line, g);
    put(&line, "}\n");
    g->line[line.length] = 0;
    guest_print(g, g->line);
}
