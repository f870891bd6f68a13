/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: memory. Mirrors the header of the same name; see there for the contract. */
#define GUEST_MEMORY_MAX_REGIONS ...
typedef struct GuestRamRegion {
    uint64_t gpa;
    uint64_t size;
    uint8_t *host;
} GuestRamRegion;
typedef struct GuestMemory {
    unsigned count;
    GuestRamRegion regions[...];
} GuestMemory;
GuestMemory *guest_memory_new(void);
void guest_memory_free(GuestMemory *mem);
int guest_memory_add_ram(GuestMemory *mem, uint64_t gpa, uint64_t size);
void *guest_memory_ptr(const GuestMemory *mem, uint64_t gpa, uint64_t len);
int guest_memory_read(const GuestMemory *mem, uint64_t gpa, void *buf, uint64_t len);
int guest_memory_write(const GuestMemory *mem, uint64_t gpa, const void *buf, uint64_t len);
