/* A disk that fails: preloaded into a process, it makes the n-th operation of a kind on a ledger's files fail.

   FAULT_KIND  write, sync or open
   FAULT_N     which one fails, counted from 1; 0 for none
   FAULT_ERRNO what it reports
   FAULT_ALL   if set, every later one fails as well, until fault_stop() is called
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char is_ours[65536];
static long seen, first;
static int failure, all, stopped;
static const char *kind;
/* What this thread does now is not the program's that is tested: it is not counted, and does not fail. */
static __thread int spared;

__attribute__((constructor)) static void begin(void) {
    kind = getenv("FAULT_KIND") ? getenv("FAULT_KIND") : "";
    first = getenv("FAULT_N") ? atol(getenv("FAULT_N")) : 0;
    failure = getenv("FAULT_ERRNO") ? atoi(getenv("FAULT_ERRNO")) : EIO;
    all = getenv("FAULT_ALL") != NULL;
}

void fault_stop(void) { stopped = 1; }
void fault_spare(int yes) { spared = yes; }
long fault_seen(void) { return seen; }

static int fails(const char *what, int fd) {
    if (spared || strcmp(kind, what) || (fd >= 0 && (fd >= 65536 || !is_ours[fd]))) return 0;
    long number = __sync_add_and_fetch(&seen, 1);
    if (!first || stopped || !(number == first || (all && number > first))) return 0;
    errno = failure;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int note(int fd, const char *path) {
    if (fd >= 0 && fd < 65536) is_ours[fd] = strstr(path, "faulty.db") != NULL;
    return fd;
}

#define OPEN(name)                                                   \
    int name(const char *path, int flags, ...) {                     \
        va_list more;                                                \
        va_start(more, flags);                                       \
        mode_t mode = va_arg(more, mode_t);                          \
        va_end(more);                                                \
        if (strstr(path, "faulty.db") && fails("open", -1)) return -1; \
        return note(NEXT(name)(path, flags, mode), path);            \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size) { return fails("write", fd) ? -1 : NEXT(write)(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return fails("write", fd) ? -1 : NEXT(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fails("write", fd) ? -1 : NEXT(pwrite64)(fd, data, size, at);
}
int ftruncate64(int fd, off64_t size) { return fails("write", fd) ? -1 : NEXT(ftruncate64)(fd, size); }
int fsync(int fd) { return fails("sync", fd) ? -1 : NEXT(fsync)(fd); }
int fdatasync(int fd) { return fails("sync", fd) ? -1 : NEXT(fdatasync)(fd); }
