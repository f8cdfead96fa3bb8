# What threads ask of the operating system: the time, ways to wait, processors.
#
# For .pyx files alone: a .pxd that shared this text would carry the system's headers into every
# module above it.

cdef extern from * nogil:
    """
    #define FASTBP_SYSTEM __attribute__((unused)) static
    #if defined(__x86_64__) || defined(__i386__)
    #define FASTBP_PAUSE() __builtin_ia32_pause()
    #elif defined(__aarch64__)
    #define FASTBP_PAUSE() __asm__ volatile("yield")
    #else
    #define FASTBP_PAUSE() ((void)0)
    #endif

    #if defined(_WIN32)
    #define WIN32_LEAN_AND_MEAN
    #define NOMINMAX
    #include <windows.h>
    #ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
    #define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x2
    #endif
    FASTBP_SYSTEM double fastbp_seconds(void) {
        LARGE_INTEGER now, rate;
        QueryPerformanceCounter(&now);
        QueryPerformanceFrequency(&rate);
        return (double)now.QuadPart / (double)rate.QuadPart;
    }
    FASTBP_SYSTEM void fastbp_give_way(void) { SwitchToThread(); }
    /* Sleep(1) ends at a tick of the system's clock, much later. Windows before 10 of 2018 has
       nothing better. */
    FASTBP_SYSTEM void fastbp_nap(void) {
        LARGE_INTEGER due = {.QuadPart = -500};             /* 0.05 ms from now */
        HANDLE timer = CreateWaitableTimerExW(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
                                              SYNCHRONIZE | TIMER_MODIFY_STATE);
        if (timer == NULL || !SetWaitableTimer(timer, &due, 0, NULL, NULL, FALSE)
                || WaitForSingleObject(timer, INFINITE) != WAIT_OBJECT_0)
            Sleep(1);
        if (timer != NULL) CloseHandle(timer);
    }
    /* A process that nobody has restricted may use processors beyond those of the mask. */
    FASTBP_SYSTEM int fastbp_restricted_to(void) {
        DWORD_PTR own, all;
        if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &all) || own == all) return 0;
        return __builtin_popcountll(own);
    }
    #else
    #include <sched.h>
    #include <time.h>
    FASTBP_SYSTEM double fastbp_seconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    FASTBP_SYSTEM void fastbp_give_way(void) { sched_yield(); }
    FASTBP_SYSTEM void fastbp_nap(void) {
        struct timespec time = {0, 50000};
        nanosleep(&time, NULL);
    }
    FASTBP_SYSTEM int fastbp_restricted_to(void) { return 0; }
    #endif

    /* Linux likes to wake a thread on the processor of the one that wakes it, which it would
       have to share; elsewhere that is left to the system. */
    #if defined(__linux__)
    #include <sys/syscall.h>
    #include <unistd.h>
    FASTBP_SYSTEM int fastbp_thread_id(void) { return (int)syscall(SYS_gettid); }
    FASTBP_SYSTEM void fastbp_rejoin(int caller) {
        cpu_set_t cpus;
        if (sched_getaffinity(caller, sizeof cpus, &cpus) == 0)
            sched_setaffinity(0, sizeof cpus, &cpus);
    }
    FASTBP_SYSTEM void fastbp_keep_apart(int thread) {
        cpu_set_t cpus;
        int here = sched_getcpu();
        if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof cpus, &cpus) != 0)
            return;
        CPU_CLR(here, &cpus);
        if (CPU_COUNT(&cpus) > 0) sched_setaffinity(thread, sizeof cpus, &cpus);
    }
    #else
    FASTBP_SYSTEM int fastbp_thread_id(void) { return 0; }
    FASTBP_SYSTEM void fastbp_rejoin(int caller) { (void)caller; }
    FASTBP_SYSTEM void fastbp_keep_apart(int thread) { (void)thread; }
    #endif
    """
    # Seconds since a moment that does not change
    double seconds "fastbp_seconds"() noexcept
    # Three ways to wait, each longer: a few cycles, until other threads have run, about 0.05 ms
    void pause "FASTBP_PAUSE"() noexcept
    void give_way "fastbp_give_way"() noexcept
    void nap "fastbp_nap"() noexcept
    # Processors that a mask of Windows leaves to this process; 0 without one, or elsewhere
    int restricted_to "fastbp_restricted_to"() noexcept
    # The system's number of the calling thread
    int thread_id "fastbp_thread_id"() noexcept
    # Let a thread that is to be woken run on any processor but that of the calling thread
    void keep_apart "fastbp_keep_apart"(int thread) noexcept
    # Let the calling thread run again wherever the thread that woke it may
    void rejoin "fastbp_rejoin"(int caller) noexcept
