/* What may be chosen for speed: no value here changes a bit of a result (N1).
 *
 * -DNAME=VALUE overrides each; bench/tune.py compiles and times such values beside these. The
 * figure in a comment is a whole gradient's time without it over its time with it. */
#ifndef FASTBP_TUNING_H
#define FASTBP_TUNING_H

/* Rows of the register tile that is 1, 2, 3 or 4 vectors wide, at most 14: its accumulators, one
 * row of B and one broadcast fill the registers. */
#define BY_REGISTERS(of_32, of_16) (VEC_REGISTERS == 32 ? (of_32) : (of_16))
#ifndef ROWS_1
#define ROWS_1 BY_REGISTERS(14, 12)
#endif
#ifndef ROWS_2
#define ROWS_2 BY_REGISTERS(14, 6)
#endif
#ifndef ROWS_3
#define ROWS_3 BY_REGISTERS(8, 4)
#endif
#ifndef ROWS_4
#define ROWS_4 BY_REGISTERS(6, 3)
#endif

/* Rows of the tile of networks as lanes, which is 4 numbers wide; at most 4. */
#ifndef NETWORK_ROWS
#define NETWORK_ROWS BY_REGISTERS(4, 2)
#endif

/* Rows of A packed at a time: with KC columns, a quarter of the second-level cache in float32. */
#ifndef MC
#define MC 256
#endif

/* The least M, K and N for which A is packed, and the least M and bytes of B for which B is: both
 * from the size on at which panels no longer find them in the second-level cache. With half that N
 * and a sixteenth of those bytes 100-128-128-1 (128) took 1.06 of the time, 784-128-64-1 (128) 1.05;
 * 30-64-64-1 (256) in float64 1.07. */
#ifndef PACK_A_ROWS
#define PACK_A_ROWS 64
#endif
#ifndef PACK_A_DEPTH
#define PACK_A_DEPTH 64
#endif
#ifndef PACK_A_COLUMNS
#define PACK_A_COLUMNS 257
#endif
#ifndef PACK_B_ROWS
#define PACK_B_ROWS 16
#endif
#ifndef PACK_B_BYTES
#define PACK_B_BYTES (1 << 19)
#endif

/* Bytes of C that are activated at a time, so that they are still in a cache. Between 8 KiB and
 * 128 KiB networks of 16 to 300 units show no difference above the noise. */
#ifndef STRIP_BYTES
#define STRIP_BYTES (1 << 15)
#endif

/* Sigmoids in lock-step, at most 4. A Zen 4 holds two chains of them in its schedulers and has
 * room for four: 34 cycles a vector, 36 with two. Four do not fit 16 registers: 1.07 with AVX2. */
#ifndef LOGISTICS
#define LOGISTICS BY_REGISTERS(4, 3)
#endif

/* The longest chains, shorter than PACK_A_DEPTH, for which writing C is most of the work, and how
 * large C is then: it is written in a few whole rows at a time, since a column of tiles touches a
 * page with every row. dW of 1024 x 1024: 147 -> 72 us for 1 sample, 200 -> 130 for 4. The gradient
 * of 1024-1024-1024-1 in float64: 1.28 for 8 samples, 1.09 for 16; float32 1.11 and 1.03; with
 * AVX2, whose tiles of 4 vectors have 3 rows, 0.92 and 0.87. */
#ifndef THIN
#define THIN BY_REGISTERS(16, 4)
#endif
#ifndef THIN_BYTES
#define THIN_BYTES (1 << 20)
#endif

/* Rows of A for which reading a large B is most of the work, rows of B then read at a time, and
 * how large B is: a few streams through memory instead of a page for every row. A B whose
 * magnitudes are taken has to be packed for as few rows, too, and is, whatever its size.
 * 1024-1024-1024-1: 1.26 for 1 sample, 1.20 for 8 (1.17 and 1.42 in float64). Shorter chunks are
 * 1.05 better for 1 sample, worse for 8; a B that stays in the second-level cache loses 0.04. */
#ifndef FEW_ROWS
#define FEW_ROWS 8
#endif
#ifndef FEW_ROWS_CHUNK
#define FEW_ROWS_CHUNK 16
#endif
#ifndef FEW_ROWS_BYTES
#define FEW_ROWS_BYTES (2 << 20)
#endif

/* What turning a vector of A costs, and carrying a result to its place in C, in multiply-adds of
 * vectors: left-over columns go with rows as lanes where that is less than a vector for each row.
 * Rows are turned for at most MOST_TURNED columns, itself at most 8: each number is code of its own. */
#ifndef TURNING
#define TURNING 4
#endif
#ifndef MOST_TURNED
#define MOST_TURNED (VL >= 8 ? VL / 2 : 1)
#endif
#ifndef CARRYING
#define CARRYING 2
#endif

/* How far apart rows are that are transposed a whole line at a time: delta of 8 rows by 1024 x 1024
 * takes 0.85 of the time. Of 17 columns the hidden layers take 1.08. */
#ifndef FAR_BYTES
#define FAR_BYTES 2048
#endif

/* Vectors in a transposed panel for few rows: each is VL streams through memory. delta of 1 row
 * by 1024 x 1024: 1.03 over 4, 1.19 over 1. */
#ifndef WIDE_TRANSPOSED
#define WIDE_TRANSPOSED 2
#endif

/* The shortest chains, and the least bytes of a row of C, under which a tile's part of C is asked
 * for, whose rows, as far apart as pages, nothing else prefetches: 1.01 on all products of
 * 256 x 1024 x 1024; 0 bytes for never. */
#ifndef PREFETCH_C
#define PREFETCH_C 64
#endif
#ifndef PREFETCH_C_BYTES
#define PREFETCH_C_BYTES 2048
#endif

/* A panel's tiles ask for a line of each row of the next panel of B, the first for the first line,
 * and so on up to this one; 0 for never. The rows lie as far apart as pages, too short for a CPU
 * to see a stream in them. h W of 256 x 1024 x 1024: 1.05, of 256 x 2048 x 2048: 1.05. */
#ifndef PREFETCH_B
#define PREFETCH_B 2
#endif
#define LINE (64 / REAL_BYTES)

#endif
