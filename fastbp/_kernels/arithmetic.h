/* Sums, products and roots of vectors, for each instruction set and dtype; simd.h has the vector
 * type, loads and stores, and includes this file. */
PRIMITIVE vec splat(real x) { return x - (vec){0}; } /* x - 0 keeps the sign of a zero */

#if defined(FASTBP_AVX512) && defined(FASTBP_FLOAT32)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
PRIMITIVE vec root(vec x) { return (vec)_mm512_sqrt_ps((__m512)x); }
#elif defined(FASTBP_AVX512)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
PRIMITIVE vec root(vec x) { return (vec)_mm512_sqrt_pd((__m512d)x); }
#elif defined(FASTBP_AVX2) && defined(FASTBP_FLOAT32)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
PRIMITIVE vec root(vec x) { return (vec)_mm256_sqrt_ps((__m256)x); }
#elif defined(FASTBP_AVX2)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
PRIMITIVE vec root(vec x) { return (vec)_mm256_sqrt_pd((__m256d)x); }
#elif defined(FASTBP_NEON) && defined(FASTBP_FLOAT32)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
PRIMITIVE vec root(vec x) { return (vec)vsqrtq_f32((float32x4_t)x); }
#elif defined(FASTBP_NEON)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
PRIMITIVE vec root(vec x) { return (vec)vsqrtq_f64((float64x2_t)x); }
/* Relaxed SIMD may round once or twice: dispatch.pyx takes this variant where it rounds once. */
#elif defined(FASTBP_RELAXED) && defined(FASTBP_FLOAT32)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)wasm_f32x4_relaxed_madd((v128_t)a, (v128_t)b, (v128_t)c); }
PRIMITIVE vec root(vec x) { return (vec)wasm_f32x4_sqrt((v128_t)x); }
#elif defined(FASTBP_RELAXED)
PRIMITIVE vec fma_(vec a, vec b, vec c) { return (vec)wasm_f64x2_relaxed_madd((v128_t)a, (v128_t)b, (v128_t)c); }
PRIMITIVE vec root(vec x) { return (vec)wasm_f64x2_sqrt((v128_t)x); }
#else
PRIMITIVE vec fma_(vec a, vec b, vec c) { return a * b + c; } /* rounds twice: outside the bit contract */
PRIMITIVE vec root(vec x) {
    for (int i = 0; i < VL; i++) x[i] = sizeof(real) == 4 ? (real)sqrtf((float)x[i]) : (real)sqrt((double)x[i]);
    return x;
}
#endif

/* The first half of the lanes alone; the others hold anything. A unit of half the width takes a
 * whole vector in two halves, so that this takes half the time (Zen 4). */
#if defined(FASTBP_AVX512)
#define HALVES 1
/* GCC 12 would extract and store with one masked vextractf64x4, which faults on lanes it masks. */
#define KEEP_APART(x) __asm__("" : "+v"(x))
#define LOW_PS(x) _mm512_castps512_ps256((__m512)(x))
#define LOW_PD(x) _mm512_castpd512_pd256((__m512d)(x))
#if defined(FASTBP_FLOAT32)
PRIMITIVE vec fma_half(vec a, vec b, vec c) { return (vec)_mm512_castps256_ps512(_mm256_fmadd_ps(LOW_PS(a), LOW_PS(b), LOW_PS(c))); }
PRIMITIVE vec splat_half(real x) { return (vec)_mm512_castps256_ps512(_mm256_set1_ps(x)); }
PRIMITIVE vec load_tail_half(const real *p, Py_ssize_t n) { return (vec)_mm512_castps256_ps512(_mm256_maskz_loadu_ps((__mmask8)TAIL(n), p)); }
PRIMITIVE void store_tail_half(real *p, vec x, Py_ssize_t n) {
    __m256 low = LOW_PS(x);
    KEEP_APART(low);
    _mm256_mask_storeu_ps(p, (__mmask8)TAIL(n), low);
}
#else
PRIMITIVE vec fma_half(vec a, vec b, vec c) { return (vec)_mm512_castpd256_pd512(_mm256_fmadd_pd(LOW_PD(a), LOW_PD(b), LOW_PD(c))); }
PRIMITIVE vec splat_half(real x) { return (vec)_mm512_castpd256_pd512(_mm256_set1_pd(x)); }
PRIMITIVE vec load_tail_half(const real *p, Py_ssize_t n) { return (vec)_mm512_castpd256_pd512(_mm256_maskz_loadu_pd(TAIL(n), p)); }
PRIMITIVE void store_tail_half(real *p, vec x, Py_ssize_t n) {
    __m256d low = LOW_PD(x);
    KEEP_APART(low);
    _mm256_mask_storeu_pd(p, TAIL(n), low);
}
#endif
#else
#define HALVES 0
PRIMITIVE vec fma_half(vec a, vec b, vec c) { return fma_(a, b, c); }
PRIMITIVE vec splat_half(real x) { return x - (vec){0}; }
PRIMITIVE vec load_tail_half(const real *p, Py_ssize_t n) { return load_tail(p, n); }
PRIMITIVE void store_tail_half(real *p, vec x, Py_ssize_t n) { store_tail(p, x, n); }
#endif

/* a - q*d with q the rounded a/d: exact with FMA, by Dekker's splitting without. */
#if defined(FASTBP_GENERIC)
PRIMITIVE vec residual(vec a, vec q, vec d) {
    const vec s = splat((real)(((int64_t)1 << ((MANTISSA + 2) / 2)) + 1));
    vec p = q * d, tq = s * q, td = s * d;
    vec q1 = tq - (tq - q), q2 = q - q1, d1 = td - (td - d), d2 = d - d1;
    return (a - p) - (((q1 * d1 - p) + q1 * d2 + q2 * d1) + q2 * d2);
}
#else
PRIMITIVE vec residual(vec a, vec q, vec d) { return fma_(-q, d, a); }
#endif
