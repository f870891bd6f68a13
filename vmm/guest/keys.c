/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads the keyboard and the mouse behind an i8042 by polling, as a guest without interrupt
 * handlers must: what a viewer types has arrived when the guest says so. Bytes are kept as they
 * come.
 *
 * Between two looks at an empty controller the CPU waits: each look is an exit, and a guest that
 * did nothing else would keep the lock from whoever types.
 */
#include "guest.h"

enum {
    PORT_DATA = 0x60,
    PORT_COMMAND = 0x64,
    STATUS_OUTPUT_FULL = 0x01,
    STATUS_INPUT_FULL = 0x02,
    STATUS_MOUSE = 0x20,
    MODE_INTERRUPTS = 0x03,
    MODE_DISABLED = 0x30,
    MODE_TRANSLATE = 0x40,
    READ_MODE = 0x20,
    WRITE_MODE = 0x60,
    DISABLE_MOUSE = 0xa7,
    DISABLE_KEYBOARD = 0xad,
    WRITE_MOUSE = 0xd4,
    SET_LEDS = 0xed,
    SET_RATE = 0xf3,
    IDENTIFY = 0xf2,
    ENABLE = 0xf4,
    ACK = 0xfa,
    NO_DEVICE = 0xff, /* what a port reads that nobody has */
};

#define POLL_NS 200000u
#define ANSWER_NS 2000000000u
#define STALE_BYTES 64 /* more than the devices' queues hold */

static uint8_t status(struct guest *g)
{
    return (uint8_t)platform_pio_read(g->platform, PORT_COMMAND, 1);
}

static void keep(struct guest_keys *keys, bool mouse, uint8_t byte)
{
    if (mouse)
        keys->mouse[keys->mouse_count++] = byte;
    else
        keys->keyboard[keys->keyboard_count++] = byte;
}

static uint64_t kept(const struct guest_keys *keys)
{
    return (uint64_t)keys->keyboard_count + keys->mouse_count;
}

/* Wait until all of `mask` in the status is `want`; false after ANSWER_NS. */
static bool wait_for(struct guest *g, uint8_t mask, uint8_t want)
{
    uint64_t begin = platform_ticks(g->platform), limit = guest_ns_to_ticks(g, ANSWER_NS);

    while ((status(g) & mask) != want) {
        if (platform_ticks(g->platform) - begin > limit || guest_stopped(g))
            return false;
        guest_wait(g, guest_ns_to_ticks(g, POLL_NS));
    }
    return true;
}

static bool put_byte(struct guest *g, uint16_t port, uint8_t byte)
{
    if (!wait_for(g, STATUS_INPUT_FULL, 0))
        return false;
    platform_pio_write(g->platform, port, byte, 1);
    return true;
}

/* The next byte, of whichever source, or -1. */
static int get_byte(struct guest *g, bool *mouse)
{
    uint8_t now;

    if (!wait_for(g, STATUS_OUTPUT_FULL, STATUS_OUTPUT_FULL))
        return -1;
    now = status(g);
    *mouse = now & STATUS_MOUSE;
    return (uint8_t)platform_pio_read(g->platform, PORT_DATA, 1);
}

/* Send a byte to the keyboard or to the mouse and wait for its answer; other bytes are kept. */
static int ask(struct guest *g, bool of_mouse, uint8_t byte)
{
    bool mouse;
    int answer;

    if (of_mouse && !put_byte(g, PORT_COMMAND, WRITE_MOUSE))
        return -1;
    if (!put_byte(g, PORT_DATA, byte))
        return -1;
    while ((answer = get_byte(g, &mouse)) >= 0) {
        if (mouse == of_mouse)
            return answer;
        if (kept(&g->keys) < GUEST_MAX_KEYS)
            keep(&g->keys, mouse, (uint8_t)answer);
    }
    return -1;
}

static bool tell(struct guest *g, bool mouse, uint8_t byte)
{
    return ask(g, mouse, byte) == ACK;
}

static void drain(struct guest *g)
{
    for (unsigned i = 0; i < STALE_BYTES && status(g) & STATUS_OUTPUT_FULL; i++)
        platform_pio_read(g->platform, PORT_DATA, 1);
}

/* Polled, translated to set 1, both devices off until they are asked. */
static bool open_controller(struct guest *g)
{
    bool mouse;
    int mode;

    if (!put_byte(g, PORT_COMMAND, DISABLE_KEYBOARD) || !put_byte(g, PORT_COMMAND, DISABLE_MOUSE))
        return false;
    drain(g);
    if (!put_byte(g, PORT_COMMAND, READ_MODE))
        return false;
    mode = get_byte(g, &mouse);
    if (mode < 0 || !put_byte(g, PORT_COMMAND, WRITE_MODE))
        return false;
    mode = (mode & ~MODE_INTERRUPTS) | MODE_DISABLED | MODE_TRANSLATE;
    return put_byte(g, PORT_DATA, (uint8_t)mode);
}

/* Ask for the wheel as drivers do (sample rates 200, 100, 80) and for reports. */
static bool open_mouse(struct guest *g)
{
    static const uint8_t knock[] = {200, 100, 80};
    bool mouse;

    for (unsigned i = 0; i < sizeof(knock); i++)
        if (!tell(g, true, SET_RATE) || !tell(g, true, knock[i]))
            return false;
    if (!tell(g, true, IDENTIFY))
        return false;
    g->keys.mouse_id = get_byte(g, &mouse);
    return tell(g, true, ENABLE);
}

static bool open_keyboard(struct guest *g)
{
    return tell(g, false, SET_LEDS) && tell(g, false, (uint8_t)g->params.leds) &&
           tell(g, false, ENABLE);
}

static void collect(struct guest *g, uint64_t deadline)
{
    const struct platform *p = g->platform;

    while (kept(&g->keys) < g->params.keys && platform_ticks(p) < deadline && !guest_stopped(g)) {
        uint8_t now = status(g);

        if (now & STATUS_OUTPUT_FULL)
            keep(&g->keys, now & STATUS_MOUSE, (uint8_t)platform_pio_read(p, PORT_DATA, 1));
        else
            guest_wait(g, guest_ns_to_ticks(g, POLL_NS));
    }
}

void guest_run_keys(struct guest *g)
{
    uint64_t begin;

    if (status(g) == NO_DEVICE) {
        guest_fail(g, GUEST_DEVICE_FAILED, "there is no keyboard controller at port 0x60");
        return;
    }
    if (!open_controller(g) || !open_mouse(g) || !open_keyboard(g)) {
        guest_fail(g, GUEST_DEVICE_FAILED, "the keyboard controller or a device does not answer");
        return;
    }
    guest_print(g, "keys: ready\n");
    guest_window_begin(g);
    begin = platform_ticks(g->platform);
    collect(g, begin + guest_ns_to_ticks(g, g->params.ms * 1000000));
    g->result.elapsed = platform_ticks(g->platform) - begin;
    guest_window_end(g);
}
