/* What a process of the run sees of its clocks and its disk, decided from outside by a file of eight numbers that it
 * maps (THIRDSITE_CHAOS_EDGE): the clock at the process's edge, and syncs that take long or fail. Loaded by LD_PRELOAD.
 *
 * Clocks: realtime is shifted; monotonic and raw are set back as after a suspend; boottime and both others may run at
 * another rate from one instant on, and what they gained stays, so that no clock ever goes back.
 * The kernel's own timers are not touched: a guard's floor keeps true time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct edge {
    volatile int64_t wall_ns, slept_ns, gained_ns, rate_ppm, since_ns, sync_ms, sync_errors, spare;
};
static struct edge *edge;
static int (*true_clock)(clockid_t, struct timespec *);
static int (*true_sync)(int), (*true_datasync)(int);

static void find(void) {
    true_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    true_sync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    true_datasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("THIRDSITE_CHAOS_EDGE");
    int fd;
    if (true_clock == NULL)
        find();
    if (path == NULL || (fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct edge), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        edge = mapped;
}

static int64_t ns_of(const struct timespec *at) { return at->tv_sec * INT64_C(1000000000) + at->tv_nsec; }

int clock_gettime(clockid_t id, struct timespec *at) {
    if (true_clock == NULL)
        find();
    int result = true_clock(id, at);
    if (result != 0 || edge == NULL)
        return result;
    int64_t shift = 0;
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        shift = edge->wall_ns;
    else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_RAW || id == CLOCK_MONOTONIC_COARSE)
        shift = -edge->slept_ns;
    else if (id != CLOCK_BOOTTIME)
        return 0;
    shift += edge->gained_ns;
    if (edge->rate_ppm != 0) {
        struct timespec now;
        true_clock(CLOCK_BOOTTIME, &now);
        shift += (ns_of(&now) - edge->since_ns) / 1000 * edge->rate_ppm / 1000;
    }
    if (shift == 0)
        return 0;
    int64_t seen = ns_of(at) + shift;
    at->tv_sec = seen / INT64_C(1000000000);
    at->tv_nsec = seen % INT64_C(1000000000);
    return 0;
}

static int synced(int (*sync)(int), int fd) {
    if (edge != NULL && edge->sync_ms > 0) {
        struct timespec span = {edge->sync_ms / 1000, edge->sync_ms % 1000 * 1000000};
        nanosleep(&span, NULL);
    }
    if (edge != NULL && edge->sync_errors > 0) {
        edge->sync_errors -= 1;
        errno = EIO;
        return -1;
    }
    return sync(fd);
}

int fsync(int fd) {
    if (true_sync == NULL)
        find();
    return synced(true_sync, fd);
}

int fdatasync(int fd) {
    if (true_datasync == NULL)
        find();
    return synced(true_datasync, fd);
}
