/* Vector type and primitives of one kernel variant: the only C of the arithmetic.
 *
 * The build defines one instruction set (FASTBP_AVX512, FASTBP_AVX2, FASTBP_NEON, FASTBP_RELAXED
 * or FASTBP_GENERIC) and one dtype (FASTBP_FLOAT32 or FASTBP_FLOAT64).  This header turns
 * the pair into `real`, `vec` (VL reals) and as few primitives as the kernels need:
 *
 *   load store load_tail store_tail   memory; a tail is the first n of VL lanes, 1 <= n <= VL
 *   load_half store_half              the first VL / 2 lanes, the others 0; of AVX2 and AVX-512 alone
 *   load_short store_short            tails that are likely half a vector, or one real
 *   prefetch                          a hint: the line of p will be used
 *   splat                             one real in every lane
 *   fma_                              a*b + c, one rounding (FMA variants), per lane
 *   splat_half, fma_half,             the same in the first half of the lanes, where HALVES says that
 *   load_tail_half, store_tail_half   it takes less time; 1 <= n <= VL / 2
 *   residual                          a - q*d, exact when q is close to a/d
 *   root                              square root, correctly rounded
 *   less, choose                      a < b ? x : y per lane, NaN compares false
 *   any_nan                           whether a lane is NaN
 *   at_least                          x < low ? low : x
 *   magnitude, descent, signed_as     |x|, -|x|, x >= 0 with the sign of y
 *   scale2                            x * 2^n, one rounding, for integral n
 *   load_parts                        n parts of 16 bytes, PART reals, that lie `step` reals apart,
 *                                     and zeros
 *   load_parts_of, store_parts_of     a part from, or to, element j of every PARTth of some rows
 *   zip_lo, zip_hi                    interleave two vectors, part by part: lower and upper halves
 *   fours load_four load_four_tail    four numbers as float64: of one, of memory, of its first n
 *   store_four fma_four root_four     the same of four
 *   four_of                           of an array of float64
 *   sum_of_four, sums_of_four         (x0 + x1) + (x2 + x3), of one or of four
 *
 * `+ - * /` come from the compiler's vector types.  It knows nothing of networks. */
#ifndef FASTBP_SIMD_H
#define FASTBP_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A `cdef inline` of the kernels is a template whose literal arguments are its
 * parameters: it is a kernel only once it is inlined into its caller. */
#undef CYTHON_INLINE
#define CYTHON_INLINE inline __attribute__((always_inline, unused))
#define PRIMITIVE static inline __attribute__((always_inline, unused))

/* ---- dtype ---------------------------------------------------------------------- */
#if defined(FASTBP_FLOAT32)
typedef float real;
typedef int32_t bits;
#define MAGNITUDE_BITS INT32_MAX
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define REAL_BYTES 4
#elif defined(FASTBP_FLOAT64)
typedef double real;
typedef int64_t bits;
#define MAGNITUDE_BITS INT64_MAX
#define MANTISSA 52
#define EXPONENT_BIAS 1023
#define REAL_BYTES 8
#else
#error "define FASTBP_FLOAT32 or FASTBP_FLOAT64"
#endif

/* ---- instruction set: vector width, registers ------------------------------------- */
#if defined(FASTBP_AVX512)
#include <immintrin.h>
#define VEC_BYTES 64
#define VEC_REGISTERS 32
#elif defined(FASTBP_AVX2)
#include <immintrin.h>
#define VEC_BYTES 32
#define VEC_REGISTERS 16
#elif defined(FASTBP_NEON)
#include <arm_neon.h>
#define VEC_BYTES 16
#define VEC_REGISTERS 32
#elif defined(FASTBP_RELAXED)
#include <wasm_simd128.h>
#define VEC_BYTES 16
#define VEC_REGISTERS 16        /* of x86-64; engines keep to what the processor has */
#elif defined(FASTBP_GENERIC)
#define VEC_BYTES 16
#define VEC_REGISTERS 16
#else
#error "define FASTBP_AVX512, FASTBP_AVX2, FASTBP_NEON, FASTBP_RELAXED or FASTBP_GENERIC"
#endif

#define VL (VEC_BYTES / REAL_BYTES)
#include "tuning.h"
#define PART (16 / REAL_BYTES)
#define LOG2_PART (PART / 2)

/* A tail costs no more than a full load: B need not be packed for its last columns. */
#if defined(FASTBP_AVX512) || defined(FASTBP_AVX2)
#define MASKED_LOADS 1
#else
#define MASKED_LOADS 0
#endif

typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef bits ivec __attribute__((vector_size(VEC_BYTES)));
typedef real vec_unaligned __attribute__((vector_size(VEC_BYTES), aligned(REAL_BYTES), may_alias));

/* ---- memory ------------------------------------------------------------------------ */
PRIMITIVE vec load(const real *p) { return *(const vec_unaligned *)p; }
PRIMITIVE void prefetch(const real *p) { __builtin_prefetch(p); }
PRIMITIVE void store(real *p, vec x) { *(vec_unaligned *)p = x; }

#if defined(FASTBP_AVX512) && defined(FASTBP_FLOAT32)
#define TAIL(n) ((__mmask16)(0xffffu >> (16 - (n))))
PRIMITIVE vec load_tail(const real *p, Py_ssize_t n) { return (vec)_mm512_maskz_loadu_ps(TAIL(n), p); }
PRIMITIVE void store_tail(real *p, vec x, Py_ssize_t n) { _mm512_mask_storeu_ps(p, TAIL(n), (__m512)x); }
#elif defined(FASTBP_AVX512)
#define TAIL(n) ((__mmask8)(0xffu >> (8 - (n))))
PRIMITIVE vec load_tail(const real *p, Py_ssize_t n) { return (vec)_mm512_maskz_loadu_pd(TAIL(n), p); }
PRIMITIVE void store_tail(real *p, vec x, Py_ssize_t n) { _mm512_mask_storeu_pd(p, TAIL(n), (__m512d)x); }
#elif defined(FASTBP_AVX2)
/* The window that starts n entries before the zeros masks the first n lanes. */
static const bits TAIL_WINDOW[2 * VL] __attribute__((unused)) = {
#if defined(FASTBP_FLOAT32)
    -1, -1, -1, -1,
#endif
    -1, -1, -1, -1};
#define TAIL(n) _mm256_loadu_si256((const __m256i *)(TAIL_WINDOW + VL - (n)))
/* Zen 1 takes several times as long for a load with a mask, of whole vectors too. */
#if defined(FASTBP_FLOAT32)
PRIMITIVE vec load_tail(const real *p, Py_ssize_t n) {
    return n == VL ? load(p) : (vec)_mm256_maskload_ps(p, TAIL(n));
}
PRIMITIVE void store_tail(real *p, vec x, Py_ssize_t n) { _mm256_maskstore_ps(p, TAIL(n), (__m256)x); }
#else
PRIMITIVE vec load_tail(const real *p, Py_ssize_t n) {
    return n == VL ? load(p) : (vec)_mm256_maskload_pd(p, TAIL(n));
}
PRIMITIVE void store_tail(real *p, vec x, Py_ssize_t n) { _mm256_maskstore_pd(p, TAIL(n), (__m256d)x); }
#endif
#else
PRIMITIVE vec load_tail(const real *p, Py_ssize_t n) {
    if (n == VL) return load(p);
    real lanes[VL] = {0};
    for (Py_ssize_t i = 0; i < n; i++) lanes[i] = p[i];
    return load(lanes);
}
PRIMITIVE void store_tail(real *p, vec x, Py_ssize_t n) {
    real lanes[VL];
    store(lanes, x);
    for (Py_ssize_t i = 0; i < n; i++) p[i] = lanes[i];
}
#endif

/* A load waits until a masked store before it has reached the cache, and takes several times as long
 * (Zen 4). In a small network one step after the other would wait; half a vector and one real need
 * no mask. */
#if defined(FASTBP_AVX512) || defined(FASTBP_AVX2)
#if defined(FASTBP_AVX512)
PRIMITIVE vec load_half(const real *p) { return (vec)_mm512_zextps256_ps512(_mm256_loadu_ps((const float *)p)); }
PRIMITIVE void store_half(real *p, vec x) { _mm256_storeu_ps((float *)p, _mm512_castps512_ps256((__m512)x)); }
#else
PRIMITIVE vec load_half(const real *p) { return (vec)_mm256_zextps128_ps256(_mm_loadu_ps((const float *)p)); }
PRIMITIVE void store_half(real *p, vec x) { _mm_storeu_ps((float *)p, _mm256_castps256_ps128((__m256)x)); }
#endif
PRIMITIVE vec load_short(const real *p, Py_ssize_t n) {
    return n == VL / 2 ? load_half(p) : n == 1 ? (vec){*p} : load_tail(p, n);
}
PRIMITIVE void store_short(real *p, vec x, Py_ssize_t n) {
    if (n == VL / 2) store_half(p, x);
    else if (n == 1) *p = x[0];
    else store_tail(p, x, n);
}
#else
PRIMITIVE vec load_short(const real *p, Py_ssize_t n) { return load_tail(p, n); }
PRIMITIVE void store_short(real *p, vec x, Py_ssize_t n) { store_tail(p, x, n); }
#endif

#include "arithmetic.h"

/* ---- comparison and bits ------------------------------------------------------------ */
PRIMITIVE vec magnitude(vec x) { return (vec)((ivec)x & MAGNITUDE_BITS); }
PRIMITIVE vec descent(vec x) { return (vec)((ivec)x | ~(bits)MAGNITUDE_BITS); }
PRIMITIVE vec signed_as(vec x, vec y) { return (vec)((ivec)x | ((ivec)y & ~(bits)MAGNITUDE_BITS)); }

/* GCC has no ?: for vectors in C, and makes three operations of one blend. */
#if defined(FASTBP_AVX512) && defined(FASTBP_FLOAT32)
typedef __mmask16 truth;
PRIMITIVE truth less(vec a, vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
PRIMITIVE int any_nan(vec x) { return _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q) != 0; }
PRIMITIVE vec choose(truth t, vec x, vec y) { return (vec)_mm512_mask_blend_ps(t, (__m512)y, (__m512)x); }
PRIMITIVE vec at_least(vec x, vec low) { return (vec)_mm512_max_ps((__m512)low, (__m512)x); }
#elif defined(FASTBP_AVX512)
typedef __mmask8 truth;
PRIMITIVE truth less(vec a, vec b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ); }
PRIMITIVE int any_nan(vec x) { return _mm512_cmp_pd_mask((__m512d)x, (__m512d)x, _CMP_UNORD_Q) != 0; }
PRIMITIVE vec choose(truth t, vec x, vec y) { return (vec)_mm512_mask_blend_pd(t, (__m512d)y, (__m512d)x); }
PRIMITIVE vec at_least(vec x, vec low) { return (vec)_mm512_max_pd((__m512d)low, (__m512d)x); }
#else
typedef ivec truth;
PRIMITIVE truth less(vec a, vec b) { return (ivec)(a < b); }
#if defined(FASTBP_AVX2) && defined(FASTBP_FLOAT32)
PRIMITIVE vec choose(truth t, vec x, vec y) { return (vec)_mm256_blendv_ps((__m256)y, (__m256)x, (__m256)t); }
PRIMITIVE vec at_least(vec x, vec low) { return (vec)_mm256_max_ps((__m256)low, (__m256)x); }
PRIMITIVE int any_nan(vec x) { return _mm256_movemask_ps(_mm256_cmp_ps((__m256)x, (__m256)x, _CMP_UNORD_Q)); }
#elif defined(FASTBP_AVX2)
PRIMITIVE vec choose(truth t, vec x, vec y) { return (vec)_mm256_blendv_pd((__m256d)y, (__m256d)x, (__m256d)t); }
PRIMITIVE vec at_least(vec x, vec low) { return (vec)_mm256_max_pd((__m256d)low, (__m256d)x); }
PRIMITIVE int any_nan(vec x) { return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)x, (__m256d)x, _CMP_UNORD_Q)); }
#else
#if defined(FASTBP_RELAXED)
/* Clang 22 makes f32x4.relaxed_max of a select in C, which may lose a NaN; not of this. */
PRIMITIVE vec choose(truth t, vec x, vec y) { return (vec)wasm_v128_bitselect((v128_t)x, (v128_t)y, (v128_t)t); }
#else
PRIMITIVE vec choose(truth t, vec x, vec y) { return (vec)((t & (ivec)x) | (~t & (ivec)y)); }
#endif
PRIMITIVE vec at_least(vec x, vec low) { return choose(less(x, low), low, x); }
PRIMITIVE int any_nan(vec x) {
    int any = 0;
    for (int i = 0; i < VL; i++) any |= x[i] != x[i];
    return any;
}
#endif
#endif

/* The sum rounds x to an integral n, and its low bits are n + 2 EXPONENT_BIAS: halved, and
 * moved up into the place of the exponent, they are 2^(n/2), rounded down. */
#define SHIFTER ((real)1.5 * (real)((int64_t)1 << MANTISSA) + 2 * EXPONENT_BIAS)

/* x in [1/4, 2], sum = n + SHIFTER: multiplying by the first half is exact, so that a
 * subnormal result is rounded once. */
PRIMITIVE vec scale2(vec x, vec sum) {
#if defined(FASTBP_AVX512) && defined(FASTBP_FLOAT32)
    return (vec)_mm512_scalef_ps((__m512)x, (__m512)(sum - splat(SHIFTER)));
#elif defined(FASTBP_AVX512)
    return (vec)_mm512_scalef_pd((__m512d)x, (__m512d)(sum - splat(SHIFTER)));
#else
    ivec half = (ivec)sum >> 1;
    return (x * (vec)(half << MANTISSA)) * (vec)(((ivec)sum - half) << MANTISSA);
#endif
}

/* ---- four numbers in float64, where a sum needs its range ------------------------------ */
typedef double four __attribute__((vector_size(32)));
static const bits FOUR_WINDOW[8] __attribute__((unused)) = {-1, -1, -1, -1};

PRIMITIVE four fours(double x) { return x - (four){0}; }
PRIMITIVE void store_four(double *p, four x) { memcpy(p, &x, sizeof x); }
PRIMITIVE four four_of(const double *p) {
    four x;
    memcpy(&x, p, sizeof x);
    return x;
}
PRIMITIVE double sum_of_four(four x) { return (x[0] + x[1]) + (x[2] + x[3]); }
PRIMITIVE four sums_of_four(four a, four b, four c, four d) {
    four ab = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
    four cd = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}
#if MASKED_LOADS && defined(FASTBP_FLOAT32)
#define FOUR_MASK(n) _mm_loadu_si128((const __m128i *)(FOUR_WINDOW + 4 - (n)))
PRIMITIVE four load_four(const real *p) { return (four)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
PRIMITIVE four load_four_tail(const real *p, Py_ssize_t n) { return (four)_mm256_cvtps_pd(_mm_maskload_ps(p, FOUR_MASK(n))); }
#elif MASKED_LOADS
#define FOUR_MASK(n) _mm256_loadu_si256((const __m256i *)(FOUR_WINDOW + 4 - (n)))
PRIMITIVE four load_four(const real *p) { return (four)_mm256_loadu_pd(p); }
PRIMITIVE four load_four_tail(const real *p, Py_ssize_t n) { return (four)_mm256_maskload_pd(p, FOUR_MASK(n)); }
#else
PRIMITIVE four load_four(const real *p) { return (four){p[0], p[1], p[2], p[3]}; }
PRIMITIVE four load_four_tail(const real *p, Py_ssize_t n) {
    four x = {0};
    for (Py_ssize_t i = 0; i < n; i++) x[i] = p[i];
    return x;
}
#endif

#if MASKED_LOADS
PRIMITIVE four fma_four(four a, four b, four c) { return (four)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
PRIMITIVE four root_four(four x) { return (four)_mm256_sqrt_pd((__m256d)x); }
#else
#if defined(FASTBP_NEON)
PRIMITIVE four fma_four(four a, four b, four c) {
    for (int i = 0; i < 4; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}
#elif defined(FASTBP_RELAXED)
PRIMITIVE four fma_four(four a, four b, four c) {
    v128_t p[2], q[2], r[2];
    memcpy(p, &a, sizeof a), memcpy(q, &b, sizeof b), memcpy(r, &c, sizeof c);
    for (int i = 0; i < 2; i++) r[i] = wasm_f64x2_relaxed_madd(p[i], q[i], r[i]);
    memcpy(&c, r, sizeof c);
    return c;
}
#else
PRIMITIVE four fma_four(four a, four b, four c) { return a * b + c; }
#endif
PRIMITIVE four root_four(four x) { return (four){sqrt(x[0]), sqrt(x[1]), sqrt(x[2]), sqrt(x[3])}; }
#endif

/* ---- shuffles ------------------------------------------------------------------------ */
static const real NO_PART[PART] __attribute__((unused)) = {0};
#if defined(FASTBP_AVX512)
#define PART_AT(p) _mm_loadu_ps((const float *)(p))
#define PUT_PART(p, x, i) _mm_storeu_ps((float *)(p), _mm512_extractf32x4_ps((__m512)(x), i))
#define EACH_PART(act) act(0), act(1), act(2), act(3)
#define JOIN_TWO(part) _mm512_insertf32x4(_mm512_castps128_ps512(part(0)), part(1), 1)
#define JOIN(part) ((vec)_mm512_insertf32x4(_mm512_insertf32x4(JOIN_TWO(part), part(2), 2), part(3), 3))
#elif defined(FASTBP_AVX2)
#define PART_AT(p) _mm_loadu_ps((const float *)(p))
#define PUT_PART(p, x, i) _mm_storeu_ps((float *)(p), _mm256_extractf128_ps((__m256)(x), i))
#define EACH_PART(act) act(0), act(1)
#define JOIN(part) ((vec)_mm256_insertf128_ps(_mm256_castps128_ps256(part(0)), part(1), 1))
#else
#define PART_AT(p) load(p)
#define PUT_PART(p, x, i) store(p, x)
#define EACH_PART(act) act(0)
#define JOIN(part) part(0)
#endif
#define PART_OF(j) PART_AT((j) < n ? p + (j) * step : NO_PART)
PRIMITIVE vec load_parts(const real *p, Py_ssize_t step, Py_ssize_t n) { return JOIN(PART_OF); }
#define PART_OF_ROW(i) PART_AT(rows[(i) * PART] + j)
#define PUT_INTO_ROW(i) PUT_PART(rows[(i) * PART] + j, x, i)
PRIMITIVE vec load_parts_of(const real *const *rows, Py_ssize_t j) { return JOIN(PART_OF_ROW); }
PRIMITIVE void store_parts_of(real *const *rows, Py_ssize_t j, vec x) { EACH_PART(PUT_INTO_ROW); }

#if VL == 16
#define zip_lo(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define zip_hi(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#elif VL == 8 && PART == 4
#define zip_lo(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define zip_hi(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#elif VL == 8
#define zip_lo(a, b) __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define zip_hi(a, b) __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#elif VL == 4 && PART == 4
#define zip_lo(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define zip_hi(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#elif VL == 4
#define zip_lo(a, b) __builtin_shufflevector(a, b, 0, 4, 2, 6)
#define zip_hi(a, b) __builtin_shufflevector(a, b, 1, 5, 3, 7)
#else
#define zip_lo(a, b) __builtin_shufflevector(a, b, 0, 2)
#define zip_hi(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

#endif
