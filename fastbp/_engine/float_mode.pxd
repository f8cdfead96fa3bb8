# N5: native regions run under round-to-nearest without flush-to-zero, and leave the mode
# as they found it.  One register, read and written directly: fenv.h costs more than a
# gradient of a small network.

cdef extern from * nogil:
    """
    #include <stdint.h>
    /* Modules that share this text through another one call none of it. */
    #define FASTBP_MODE __attribute__((unused)) static inline
    /* Compilers move arithmetic across a change of mode unless told: memory is read and
       written, and a settled value is computed, on the side where it stands in the text. */
    #define FASTBP_BARRIER __asm__ volatile("" : : : "memory")
    #if defined(__x86_64__) || defined(__i386__)
    #include <xmmintrin.h>
    #define FASTBP_DEFAULT_MODE 0x1f80u          /* nearest, exceptions masked, no FTZ, no DAZ */
    FASTBP_MODE uint64_t fastbp_enter_float_mode(void) {
        uint64_t mode = _mm_getcsr();
        if (mode != FASTBP_DEFAULT_MODE) _mm_setcsr(FASTBP_DEFAULT_MODE);
        FASTBP_BARRIER;
        return mode;
    }
    FASTBP_MODE void fastbp_leave_float_mode(uint64_t mode) {
        FASTBP_BARRIER;
        if (mode != FASTBP_DEFAULT_MODE) _mm_setcsr((unsigned)mode);
    }
    #elif defined(__aarch64__)
    FASTBP_MODE void fastbp_leave_float_mode(uint64_t mode) {
        __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
    }
    FASTBP_MODE uint64_t fastbp_enter_float_mode(void) {
        uint64_t mode;
        __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
        if (mode != 0) fastbp_leave_float_mode(0);
        return mode;
    }
    #else
    FASTBP_MODE uint64_t fastbp_enter_float_mode(void) { return 0; }
    FASTBP_MODE void fastbp_leave_float_mode(uint64_t mode) { (void)mode; }
    #endif
    FASTBP_MODE double fastbp_settled(double x) {
        volatile double y = x;
        return y;
    }
    """
    ctypedef unsigned long long float_mode "uint64_t"
    float_mode enter_float_mode "fastbp_enter_float_mode"() noexcept
    void leave_float_mode "fastbp_leave_float_mode"(float_mode mode) noexcept
    double settled "fastbp_settled"(double x) noexcept
