/* What may be chosen for speed: no value here changes a bit of a result (N1).
 *
 * -DNAME=VALUE overrides each; bench/tune.py compiles and times such values beside these. The
 * figure in a comment is a whole gradient's time without it over its time with it. */
#ifndef FASTBP_TUNING_H
#define FASTBP_TUNING_H

/* Sigmoids in lock-step, at most 4. A Zen 4 holds two chains of them in its schedulers and has
 * room for four: 1.03 on 30-64-64-1 (256), 1.06 with AVX2. */
#ifndef LOGISTICS
#define LOGISTICS 4
#endif

/* The longest chains for which writing C is most of the work of a product, and how large C is
 * then: it is written in a few whole rows at a time, since a column of tiles touches a page with
 * every row. dW of 1024 x 1024: 147 -> 72 us for 1 sample, 200 -> 130 for 4, the same for 8. */
#ifndef THIN
#define THIN 4
#endif
#ifndef THIN_BYTES
#define THIN_BYTES (1 << 20)
#endif

/* Rows of A for which reading a large B is most of the work, rows of B then read at a time, and
 * how large B is: a few streams through memory instead of a page for every row. */
#ifndef FEW
#define FEW 2
#endif
#ifndef CHUNK
#define CHUNK 8
#endif
#ifndef FEW_BYTES
#define FEW_BYTES (1 << 20)
#endif

/* Vectors in a transposed panel for few rows: each is VL streams through memory. */
#ifndef WIDE_TRANSPOSED
#define WIDE_TRANSPOSED 2
#endif

/* The shortest chains under which a tile's part of C is asked for, whose rows, as far apart as
 * pages, nothing else prefetches: 1.01 on all products of 256 x 1024 x 1024; 0 for never. */
#ifndef PREFETCH_C
#define PREFETCH_C 64
#endif

#endif
