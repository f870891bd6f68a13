typedef struct GuestRamRegion { uint64_t gpa; uint64_t size; uint8_t *host; } GuestRamRegion;
typedef struct GuestMemory { unsigned count; GuestRamRegion regions[8]; } GuestMemory;
GuestMemory *guest_memory_new(void);
void guest_memory_free(GuestMemory *mem);
int guest_memory_add_ram(GuestMemory *mem, uint64_t gpa, uint64_t size);
int guest_memory_read(const GuestMemory *mem, uint64_t gpa, void *buf, uint64_t len);
int guest_memory_write(const GuestMemory *mem, uint64_t gpa, const void *buf, uint64_t len);
