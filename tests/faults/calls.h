/* Which calls are caught: those that CPython and SQLite make. Included by storage.c.
 *
 * Not caught: stdio (fopen, fwrite), mmap, flock, lockf, preadv, pwritev, statx, and calls made without libc.
 */
#include <dirent.h>
#include <stdarg.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <utime.h>

#define ON_PATH(type, name, declared, given, kind) \
    WRAP(, -1, type, name, declared, real given, kind, named(AT_FDCWD, path))
#define ON_PATH_AT(type, name, declared, given, kind) \
    WRAP(, -1, type, name, declared, real given, kind, named(at, path))
#define ON_PATHS(name, declared, given, kind, at, to) \
    WRAP(, -1, int, name, declared, real given, kind, named(at, path) || named(to, other))
#define ON_FILE(type, name, declared, given, kind) \
    WRAP(, -1, type, name, declared, real given, kind, held(file))
/* Twins: a program calls one or the other, depending on how it was compiled. */
#define ON_PATH_64(type, name, ...) ON_PATH(type, name, __VA_ARGS__) ON_PATH(type, name##64, __VA_ARGS__)
#define ON_FILE_64(type, name, ...) ON_FILE(type, name, __VA_ARGS__) ON_FILE(type, name##64, __VA_ARGS__)

/* Only with these flags does the caller give a mode. */
#define READ_MODE                                              \
    mode_t mode = 0;                                           \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode = va_arg(rest, mode_t);                           \
        va_end(rest);                                          \
    }
#define OPENING(name, declared, given, at) \
    WRAP(READ_MODE, -1, int, name, declared, real given, flags & O_CREAT ? CREATE : OPEN, named(at, path))
OPENING(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENING(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENING(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
OPENING(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
ON_PATH(int, __open64_2, (const char *path, int flags), (path, flags), OPEN)
ON_PATH_64(int, creat, (const char *path, mode_t mode), (path, mode), CREATE)
WRAP(, NULL, DIR *, opendir, (const char *path), real(path), OPEN, named(AT_FDCWD, path))
WRAP(, NULL, DIR *, fdopendir, (int file), real(file), OPEN, held(file))
/* Closed also where an error is told, as Linux does. */
WRAP(, (real(file), -1), int, close, (int file), real(file), CLOSE, held(file))

ON_FILE(ssize_t, read, (int file, void *to, size_t n), (file, to, n), READ)
ON_FILE(ssize_t, readv, (int file, const struct iovec *to, int n), (file, to, n), READ)
ON_FILE_64(ssize_t, pread, (int file, void *to, size_t n, off_t at), (file, to, n, at), READ)

#define TEAR(n) (verdict.torn ? (n) / 2 : (n))
#define TEAR_FIRST(parts) (verdict.torn ? &(struct iovec){parts->iov_base, parts->iov_len / 2} : parts)
ON_FILE(ssize_t, write, (int file, const void *data, size_t n), (file, data, TEAR(n)), WRITE)
ON_FILE_64(ssize_t, pwrite, (int file, const void *data, size_t n, off_t at),
           (file, data, TEAR(n), at), WRITE)
ON_FILE(ssize_t, writev, (int file, const struct iovec *parts, int n),
        (file, TEAR_FIRST(parts), verdict.torn ? 1 : n), WRITE)
ON_FILE_64(ssize_t, sendfile, (int file, int from, off_t *at, size_t n), (file, from, at, TEAR(n)), WRITE)
ON_FILE(int, fsync, (int file), (file), FSYNC)
ON_FILE(int, fdatasync, (int file), (file), FSYNC)
ON_FILE_64(int, ftruncate, (int file, off_t size), (file, size), TRUNCATE)
ON_PATH_64(int, truncate, (const char *path, off_t size), (path, size), TRUNCATE)

ON_PATH(int, unlink, (const char *path), (path), UNLINK)
ON_PATH_AT(int, unlinkat, (int at, const char *path, int flags), (at, path, flags), UNLINK)
ON_PATH(int, rmdir, (const char *path), (path), UNLINK)
ON_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode), MKDIR)
ON_PATH_AT(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), MKDIR)
ON_PATHS(rename, (const char *path, const char *other), (path, other), RENAME, AT_FDCWD, AT_FDCWD)
ON_PATHS(renameat, (int at, const char *path, int to, const char *other), (at, path, to, other),
         RENAME, at, to)
ON_PATHS(link, (const char *path, const char *other), (path, other), LINK, AT_FDCWD, AT_FDCWD)
ON_PATHS(linkat, (int at, const char *path, int to, const char *other, int flags),
         (at, path, to, other, flags), LINK, at, to)
ON_PATH(int, symlink, (const char *target, const char *path), (target, path), LINK)
ON_PATH_AT(int, symlinkat, (const char *target, int at, const char *path), (target, at, path), LINK)

#define ASKING(type, suffix)                                                             \
    ON_PATH(int, stat##suffix, (const char *path, type *found), (path, found), STAT)     \
    ON_PATH(int, lstat##suffix, (const char *path, type *found), (path, found), STAT)    \
    ON_FILE(int, fstat##suffix, (int file, type *found), (file, found), STAT)            \
    ON_PATH_AT(int, fstatat##suffix, (int at, const char *path, type *found, int flags), \
               (at, path, found, flags), STAT)
ASKING(struct stat, )
ASKING(struct stat64, 64)
ON_PATH(int, access, (const char *path, int mode), (path, mode), STAT)
ON_PATH_AT(int, faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags), STAT)
ON_PATH(ssize_t, readlink, (const char *path, char *to, size_t n), (path, to, n), STAT)
ON_PATH_AT(ssize_t, readlinkat, (int at, const char *path, char *to, size_t n), (at, path, to, n), STAT)

ON_PATH_AT(int, utimensat, (int at, const char *path, const struct timespec times[2], int flags),
           (at, path, times, flags), UTIME)
ON_FILE(int, futimens, (int file, const struct timespec times[2]), (file, times), UTIME)
ON_PATH(int, utime, (const char *path, const struct utimbuf *times), (path, times), UTIME)
ON_PATH(int, chmod, (const char *path, mode_t mode), (path, mode), CHMOD)
ON_FILE(int, fchmod, (int file, mode_t mode), (file, mode), CHMOD)
ON_PATH(int, chown, (const char *path, uid_t user, gid_t group), (path, user, group), CHMOD)
ON_FILE(int, fchown, (int file, uid_t user, gid_t group), (file, user, group), CHMOD)

#define READ_ARGUMENT                      \
    va_list rest;                          \
    va_start(rest, command);               \
    void *argument = va_arg(rest, void *); \
    va_end(rest)
#define CONTROLLING(name)                                                                    \
    WRAP(READ_ARGUMENT, -1, int, name, (int file, int command, ...),                         \
         verdict.ours ? lock(real, file, command, argument) : real(file, command, argument), \
         kind_of_lock(command, argument), is_lock(command) && held(file))
CONTROLLING(fcntl)
CONTROLLING(fcntl64)
