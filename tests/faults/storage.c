/* A storage that fails on demand: preloaded into a process, it stands between the process and libc.
 *
 * It meddles with calls on files under one folder. Whether a descriptor belongs there is asked of /proc at
 * each call, and not noted when it is opened: so dup, fork, exec and threads leave nothing to keep in step.
 * What is to go wrong stands in a small file that all processes map, so that they notice a change at once,
 * and that outlives a process that is killed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef _Atomic uint64_t cell;

/* In the order of KINDS in storage.py. */
enum kind {
    OPEN, CREATE, CLOSE, READ, WRITE, FSYNC, TRUNCATE, UNLINK, RENAME, MKDIR, LINK, STAT, UTIME, CHMOD,
    LOCK, UNLOCK, LOCK_TEST, N_KINDS
};

/* In the order of LOCKS in storage.py. */
enum locks { HONEST, LYING, REFUSED };

/* A signal at the at-th call of the chosen kinds (a bit each), before the call or after it; or an error in place of it. */
struct strike {
    cell kinds, at, count, signal, after, torn, error;
};

/* As _Control in storage.py lays it out. */
struct control {
    cell count[N_KINDS], error[N_KINDS], delay_us[N_KINDS];
    cell locks;
    cell armed, arming; /* what the environment asks for waits for it, and is counted anew at another */
    struct strike strike;
};

struct verdict {
    bool ours, torn;
    int error, signal_after;
};

#define SLICE_US 5000

static const char *folder;
static struct control *control;
static struct strike own; /* from the environment: this process counts its own calls */
static cell own_arming;

static void refuse_to_run(const char *why)
{
    /* Without its faults a test would pass for nothing. */
    fprintf(stderr, "faulty storage: %s\n", why);
    abort();
}

static void strike_from_environment(const char *variable, int signal)
{
    const char *at = getenv(variable), *kinds = getenv("DAHPS_FAULTS_KINDS");
    if (at == NULL)
        return;
    own.signal = signal;
    own.at = strtoull(at, NULL, 10);
    own.after = getenv("DAHPS_FAULTS_AFTER") != NULL;
    own.kinds = kinds ? strtoull(kinds, NULL, 10) : 0;
    if (own.at == 0 || own.kinds == 0)
        refuse_to_run("DAHPS_FAULTS_*_AT and DAHPS_FAULTS_KINDS must be numbers from 1 on");
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("DAHPS_FAULTS_CONTROL");
    struct stat status;
    folder = getenv("DAHPS_FAULTS_FOLDER");
    if (folder == NULL || path == NULL)
        refuse_to_run("DAHPS_FAULTS_FOLDER and DAHPS_FAULTS_CONTROL must be set");
    folder = strdup(folder); /* the program may change its environment */
    strike_from_environment("DAHPS_FAULTS_KILL_AT", SIGKILL);
    strike_from_environment("DAHPS_FAULTS_STOP_AT", SIGSTOP);
    /* `control` is not set yet: these calls are not meddled with. */
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &status) != 0 || status.st_size != sizeof *control)
        refuse_to_run("the control file is missing, or of another layout");
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED)
        refuse_to_run("the control file cannot be mapped");
    close(descriptor);
    control = mapped;
}

static int failed(int error)
{
    errno = error;
    return -1;
}

static bool lies_under_folder(const char *path)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool held(int descriptor)
{
    char link[64], path[PATH_MAX];
    int error = errno;
    if (control == NULL)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = error;
    if (length < 0)
        return false;
    path[length] = '\0';
    return lies_under_folder(path);
}

/* The last name is not followed: what is opened, renamed or removed is the entry of that name. */
__attribute__((noinline)) static bool named(int directory, const char *path)
{
    char whole[2 * PATH_MAX], real[3 * PATH_MAX];
    int error = errno;
    bool found = false;
    if (control == NULL)
        return false;
    if (path == NULL || *path == '\0')
        return directory != AT_FDCWD && held(directory);
    if (*path == '/')
        snprintf(whole, sizeof whole, "%s", path);
    else if (directory == AT_FDCWD)
        snprintf(whole, sizeof whole, "/proc/self/cwd/%s", path);
    else
        snprintf(whole, sizeof whole, "/proc/self/fd/%d/%s", directory, path);
    /* From the nearest ancestor that exists: the folder itself may have to be made first. */
    for (char *cut = whole + strlen(whole); (cut = memrchr(whole, '/', cut - whole)) != NULL;) {
        *cut = '\0';
        bool exists = realpath(cut == whole ? "/" : whole, real) != NULL;
        *cut = '/';
        if (exists) {
            strcat(strcmp(real, "/") == 0 ? strcpy(real, "") : real, cut);
            found = lies_under_folder(real);
            break;
        }
    }
    errno = error;
    return found;
}

/* False if a signal's handler interrupted it. */
static bool pause_us(uint64_t us)
{
    return nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL) == 0;
}

static void judge(struct strike *strike, enum kind kind, struct verdict *verdict)
{
    if (!(strike->kinds >> kind & 1) || ++strike->count != strike->at)
        return;
    verdict->torn = strike->torn;
    verdict->error = strike->error;
    if (strike->after)
        verdict->signal_after = strike->signal;
    else if (strike->signal)
        raise(strike->signal); /* to this very thread, which so does not get any further */
}

static struct verdict enter(enum kind kind)
{
    struct verdict verdict = {.ours = true};
    int error = errno;
    control->count[kind]++;
    /* In slices, so that healing also frees those who wait already. */
    for (uint64_t left, waited = 0; waited < control->delay_us[kind]; waited += left) {
        left = control->delay_us[kind] - waited;
        left = left < SLICE_US ? left : SLICE_US;
        if (!pause_us(left))
            left = 0;
    }
    judge(&control->strike, kind, &verdict);
    if (control->arming != own_arming) {
        own_arming = control->arming;
        own.count = 0;
    }
    if (control->armed)
        judge(&own, kind, &verdict);
    if (control->error[kind])
        verdict.error = control->error[kind];
    errno = error;
    return verdict;
}

static void leave(struct verdict verdict)
{
    if (verdict.signal_after)
        raise(verdict.signal_after);
}

static bool is_lock(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_GETLK || command == F_OFD_SETLK ||
           command == F_OFD_SETLKW || command == F_OFD_GETLK;
}

static enum kind kind_of_lock(int command, const struct flock *asked)
{
    if (command == F_GETLK || command == F_OFD_GETLK)
        return LOCK_TEST;
    return asked->l_type == F_UNLCK ? UNLOCK : LOCK;
}

static int lock(int (*real)(int, int, ...), int file, int command, struct flock *asked)
{
    enum kind kind = kind_of_lock(command, asked);
    bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
    if (kind == LOCK_TEST && control->locks != HONEST) {
        asked->l_type = control->locks == LYING ? F_UNLCK : F_WRLCK;
        asked->l_pid = 0; /* as for a holder on another host */
        return 0;
    }
    while (kind == LOCK && waits && control->locks == REFUSED)
        if (!pause_us(SLICE_US))
            return failed(EINTR);
    if (kind == LOCK && control->locks == REFUSED)
        return failed(EAGAIN);
    return kind == LOCK && control->locks == LYING ? 0 : real(file, command, asked);
}

/* `call` and `failure` may look at the verdict; `first` runs before all else. */
#define WRAP(first, failure, type, name, declared, call, kind, is_ours) \
    type name declared                                                  \
    {                                                                   \
        static type(*real) declared;                                    \
        struct verdict verdict = {0};                                   \
        first;                                                          \
        if (real == NULL)                                               \
            real = (type(*) declared)dlsym(RTLD_NEXT, #name);           \
        if (is_ours)                                                    \
            verdict = enter(kind);                                      \
        errno = verdict.error ? verdict.error : errno;                  \
        if (verdict.error)                                              \
            return failure;                                             \
        type result = call;                                             \
        leave(verdict);                                                 \
        return result;                                                  \
    }

#include "calls.h"
