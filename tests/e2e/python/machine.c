/* A machine that fails on request, as the program under test sees it (LD_PRELOAD).
 *
 * - MACHINE_FOLDER, MACHINE_DISK: of each file in the first folder, what a power loss would leave is
 *   kept in the second: its bytes at its last fsync or fdatasync. Nothing that was not synced stays.
 * - MACHINE_DIALS, two 64-bit numbers: an errno for every write below MACHINE_FOLDER (0 for none),
 *   and nanoseconds that the wall clock is ahead. They are read at every call.
 * - MACHINE_BOOT_ID: the file to read instead of the kernel's boot id.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct dials {
    int64_t write_errno;
    int64_t clock_ahead_ns;
};

static const struct dials healthy;
static const volatile struct dials *dials = &healthy;
static const char *folder, *disk, *boot_id;
static pthread_mutex_t copying = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    folder = getenv("MACHINE_FOLDER");
    disk = getenv("MACHINE_DISK");
    boot_id = getenv("MACHINE_BOOT_ID");
    const char *path = getenv("MACHINE_DIALS");
    int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *map = mmap(NULL, sizeof *dials, PROT_READ, MAP_SHARED, file, 0);
        if (map != MAP_FAILED) dials = map;
        close(file);
    }
}

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* The path below the folder, or NULL for a file elsewhere. */
static const char *below(const char *path) {
    size_t length = folder ? strlen(folder) : 0;
    int inside = length && !strncmp(path, folder, length) && path[length] == '/';
    return inside ? path + length + 1 : NULL;
}

/* Whether this file may not be written now; sets errno. */
static int refused(int file) {
    int64_t error = dials->write_errno;
    char link[64], path[PATH_MAX];
    if (!error) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!below(path)) return 0;
    errno = (int)error;
    return 1;
}

/* Copies an open file to the disk that survives. It is read through the same descriptor: to close
 * another one of the same file would drop SQLite's locks on it. */
static int keep(int file) {
    char link[64], path[PATH_MAX], made[PATH_MAX + 64], kept[PATH_MAX + 64], bytes[1 << 16];
    struct stat about;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!disk || length < 0) return 0;
    path[length] = 0;
    const char *name = below(path);
    if (!name || strchr(name, '/') || fstat(file, &about) || !S_ISREG(about.st_mode)) return 0;
    snprintf(made, sizeof made, "%s/.%s.being-made", disk, name);
    snprintf(kept, sizeof kept, "%s/%s", disk, name);
    int copy = (int)syscall(SYS_openat, AT_FDCWD, made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (copy < 0) return -1;
    /* What was opened for writing only is none of SQLite's. */
    int own = (fcntl(file, F_GETFL) & O_ACCMODE) == O_WRONLY;
    if (own) file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    off_t at = 0;
    ssize_t got;
    while ((got = pread(file, bytes, sizeof bytes, at)) > 0) {
        if (syscall(SYS_write, copy, bytes, got) != got) got = -1;
        if (got < 0) break;
        at += got;
    }
    if (own) close(file);
    close(copy);
    return got < 0 || syscall(SYS_rename, made, kept) ? -1 : 0;
}

static int synced(int file) {
    if (refused(file)) return -1;
    pthread_mutex_lock(&copying);
    int done = keep(file);
    pthread_mutex_unlock(&copying);
    /* A copy that cannot be made is no disk that fails: the test could not go on honestly. */
    if (done) abort();
    return 0;
}

int fsync(int file) { return synced(file); }
int fdatasync(int file) { return synced(file); }

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    return refused(file) ? -1 : syscall(SYS_pwrite64, file, bytes, length, at);
}

ssize_t write(int file, const void *bytes, size_t length) {
    return refused(file) ? -1 : syscall(SYS_write, file, bytes, length);
}

int ftruncate64(int file, off64_t length) {
    return refused(file) ? -1 : (int)syscall(SYS_ftruncate, file, length);
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (boot_id && !strcmp(path, "/proc/sys/kernel/random/boot_id")) path = boot_id;
    if (dials->write_errno == EROFS && (flags & (O_WRONLY | O_RDWR)) && below(path)) {
        errno = EROFS;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))next("clock_gettime");
    int done = real(clock, now);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + dials->clock_ahead_ns % 1000000000;
        now->tv_sec += dials->clock_ahead_ns / 1000000000 + (ns >= 1000000000) - (ns < 0);
        now->tv_nsec = ns + (ns < 0 ? 1000000000 : 0) - (ns >= 1000000000 ? 1000000000 : 0);
    }
    return done;
}
