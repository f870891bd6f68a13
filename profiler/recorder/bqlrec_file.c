/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a recording lives and how its file is made: private, fresh, never through a link. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bqlrec_private.h"

void bqlrec_error(char *err, const char *format, ...)
{
    va_list args;

    if (err == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf(err, BQLREC_ERR_SIZE, format, args);
    va_end(args);
}

static bool is_directory(const char *path)
{
    struct stat st;

    return path != NULL && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static char *default_directory(void)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    char *directory = NULL;
    int n;

    if (is_directory(base)) {
        n = asprintf(&directory, "%s/bqlscope", base);
    } else {
        base = getenv("TMPDIR");
        n = asprintf(&directory, "%s/bqlscope-%u", is_directory(base) ? base : "/tmp",
                     (unsigned)geteuid());
    }
    return n < 0 ? NULL : directory;
}

/* A descriptor of our own private directory, or -1 with errno and err set. */
static int open_private_directory(const char *path, char *err)
{
    struct stat st;
    int fd;

    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        bqlrec_error(err, "cannot create %s: %s", path, strerror(errno));
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        bqlrec_error(err, "cannot open directory %s: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        bqlrec_error(err, "%s is not private: it must belong to this user with mode 0700", path);
        close(fd);
        errno = EPERM;
        return -1;
    }
    return fd;
}

/* Replace what is at (dirfd, name) by a fresh empty file. */
static int create_fresh(int dirfd, const char *name, char *err)
{
    struct stat st;
    int fd;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode)) {
            bqlrec_error(err, "%s exists and is not a regular file", name);
            errno = EEXIST;
            return -1;
        }
        unlinkat(dirfd, name, 0); /* if this fails, so does O_EXCL */
    }
    fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        bqlrec_error(err, "cannot create %s: %s", name, strerror(errno));
    }
    return fd;
}

/* The name <pid>.bql is what tools look for; a second recorder of the process adds its serial. */
static int create_default(uint32_t serial, char **path, char *err)
{
    char *directory = default_directory();
    int dirfd, fd, n;

    *path = NULL;
    if (directory == NULL) {
        bqlrec_error(err, "out of memory");
        errno = ENOMEM;
        return -1;
    }
    n = asprintf(path, "%s/%d.bql", directory, (int)getpid());
    if (n >= 0 && bqlrec_registry_has_path(*path)) {
        free(*path);
        n = asprintf(path, "%s/%d.%u.bql", directory, (int)getpid(), serial);
    }
    if (n < 0) {
        *path = NULL;
        free(directory);
        errno = ENOMEM;
        return -1;
    }
    dirfd = open_private_directory(directory, err);
    fd = dirfd < 0 ? -1 : create_fresh(dirfd, strrchr(*path, '/') + 1, err);
    if (dirfd >= 0) {
        int saved = errno;
        close(dirfd);
        errno = saved;
    }
    free(directory);
    return fd;
}

/* A path somebody typed may name anything; only an empty file or a recording is replaced. */
static bool may_replace(const char *path)
{
    uint64_t magic = 0;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    bool replaceable;

    if (fd < 0) {
        return errno == ENOENT || errno == ELOOP; /* create_fresh() has words for a link */
    }
    replaceable = fstat(fd, &st) == 0 &&
                  (!S_ISREG(st.st_mode) || st.st_size == 0 ||
                   (pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) && magic == BQLREC_MAGIC));
    close(fd);
    return replaceable;
}

static int create_explicit(const char *name, char **path, char *err)
{
    *path = NULL;
    if (name[0] == '/') {
        *path = strdup(name);
    } else {
        char *cwd = getcwd(NULL, 0);
        if (cwd == NULL || asprintf(path, "%s/%s", cwd, name) < 0) {
            *path = NULL;
        }
        free(cwd);
    }
    if (*path == NULL) {
        bqlrec_error(err, "out of memory");
        errno = ENOMEM;
        return -1;
    }
    if (bqlrec_registry_has_path(*path)) {
        bqlrec_error(err, "%s is already being recorded to by this process", *path);
        errno = EBUSY;
        return -1;
    }
    if (!may_replace(*path)) {
        bqlrec_error(err, "%s exists and is not a recording: it is not overwritten", *path);
        errno = EEXIST;
        return -1;
    }
    return create_fresh(AT_FDCWD, *path, err);
}

/* Sparse, full size. Checked against the limit first: exceeding it would raise SIGXFSZ. */
static int set_size(int fd, const char *path, char *err)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < (rlim_t)BQLREC_FILE_SIZE) {
        bqlrec_error(err, "%s needs %d bytes (sparse), above this process's file size limit", path,
                     (int)BQLREC_FILE_SIZE);
        errno = EFBIG;
        return -1;
    }
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, BQLREC_FILE_SIZE) != 0) {
        bqlrec_error(err, "cannot size %s: %s", path, strerror(errno));
        return -1;
    }
    /* Header, live lines, sites and hand-over ring always have their pages. */
    errno = posix_fallocate(fd, 0, BQLREC_ROWS_OFFSET);
    if (errno != 0) {
        bqlrec_error(err, "no space for %s: %s", path, strerror(errno));
        return -1;
    }
    return 0;
}

int bqlrec_file_create(const char *explicit_path, uint32_t serial, char **path, char *err)
{
    int fd = explicit_path != NULL ? create_explicit(explicit_path, path, err)
                                   : create_default(serial, path, err);
    int saved;

    if (fd >= 0 && set_size(fd, *path, err) == 0) {
        return fd;
    }
    saved = errno;
    if (fd >= 0) {
        close(fd);
        unlink(*path);
    }
    free(*path);
    *path = NULL;
    errno = saved;
    return -1;
}

bool bqlrec_file_reserve(BqlRec *rec, size_t offset, size_t size)
{
    const _Atomic uint8_t *base = (const _Atomic uint8_t *)rec->header;
    int error;

    do {
        error = posix_fallocate(rec->shared->fd, (off_t)offset, (off_t)size);
    } while (error == EINTR);
    if (error != 0) {
        return false;
    }
    /* Look at every page. When tmpfs runs out in the middle of an allocation it takes back every
     * page of the range that nobody has touched yet, also those of an earlier allocation, and
     * rows share pages. It also moves the page faults out of the first holds. Atomic: the owner of
     * another row of the page may be writing it. */
    for (size_t at = offset & ~(size_t)(BQLREC_PAGE - 1); at < offset + size; at += BQLREC_PAGE) {
        (void)atomic_load_explicit(&base[at], memory_order_relaxed);
    }
    return true;
}
