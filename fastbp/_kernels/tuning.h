/* What may be chosen for speed: no value here changes a bit of a result (N1).
 *
 * -DNAME=VALUE overrides each. A comment says what a value is for and what speaks against others;
 * how much one gains on a machine is what bench/tune.py finds, which compiles and times other values
 * beside these. */
#ifndef FASTBP_TUNING_H
#define FASTBP_TUNING_H

/* Rows of the register tile that is 1, 2, 3 or 4 vectors wide, at most MOST_ROWS: its accumulators,
 * one row of B and one broadcast fill the registers. */
#define MOST_ROWS 14
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
#if ROWS_1 > MOST_ROWS || ROWS_2 > MOST_ROWS || ROWS_3 > MOST_ROWS || ROWS_4 > MOST_ROWS
#error "a tile has at most MOST_ROWS rows"
#endif

/* Rows that the last tile of a panel computes once more, at most, so that it need not be several
 * smaller ones: of a panel of 1 vector, and of more. */
#ifndef ROWS_AGAIN_1
#define ROWS_AGAIN_1 3
#endif
#ifndef ROWS_AGAIN
#define ROWS_AGAIN 1
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
 * from the size on at which panels no longer find them in the second-level cache. Of smaller
 * matrices, packing takes more time than it saves. */
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

/* Bytes of C that are activated at a time, so that they are still in a cache. A quarter or four
 * times as many make no difference that can be measured. */
#ifndef STRIP_BYTES
#define STRIP_BYTES (1 << 15)
#endif

/* Sigmoids in lock-step, at most 4. The schedulers of a Zen 4 hold the operations of two, and its
 * units could do those of four at once. Four do not fit into 16 registers. */
#ifndef LOGISTICS
#define LOGISTICS BY_REGISTERS(4, 3)
#endif

/* The longest chains, shorter than PACK_A_DEPTH, for which writing C is most of the work, and how
 * large C is then: it is written in a few whole rows at a time, since a column of tiles touches a
 * page with every row. With 16 registers, where tiles of 4 vectors have 3 rows, only the shortest
 * chains gain by it. */
#ifndef THIN
#define THIN BY_REGISTERS(16, 4)
#endif
#ifndef THIN_BYTES
#define THIN_BYTES (1 << 20)
#endif

/* Rows of A for which reading a large B is most of the work, rows of B then read at a time, and
 * how large B is: a few streams through memory instead of a page for every row. A B whose
 * magnitudes are taken has to be packed for as few rows, too, and is, whatever its size. Shorter
 * chunks are better for one row and worse for 8; a B that stays in the second-level cache loses. */
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
 * Rows are turned for at most MOST_TURNED columns, itself at most 8: each number is code of its own.
 * HALF_COST is what a product with half vectors costs, in quarters of one with whole vectors: their
 * multiply-adds take half the time, all else as long. */
#ifndef TURNING
#define TURNING 4
#endif
#ifndef MOST_TURNED
#define MOST_TURNED (VL >= 8 ? VL / 2 : 1)
#endif
#ifndef CARRYING
#define CARRYING 2
#endif
#ifndef HALF_COST
#define HALF_COST 3
#endif

/* How many bytes apart rows are that are transposed a whole line of the cache at a time: nearer ones
 * stay in the cache from one part of a line to the next, and gain nothing. */
#ifndef FAR_BYTES
#define FAR_BYTES 2048
#endif

/* The most rows of A for which panels are as wide as they can be, and how many vectors wide a
 * transposed one is then: each of these is VL streams through memory, and a CPU follows only some. */
#ifndef WIDE_ROWS
#define WIDE_ROWS 5
#endif
#ifndef WIDE_TRANSPOSED
#define WIDE_TRANSPOSED 2
#endif

/* The shortest chains, and the least bytes of a row of C, for which a tile prefetches its part of C
 * before its chains: the rows lie as far apart as pages, so that the CPU does not. 0 bytes for never. */
#ifndef PREFETCH_C
#define PREFETCH_C 64
#endif
#ifndef PREFETCH_C_BYTES
#define PREFETCH_C_BYTES 2048
#endif

/* The tiles of a panel prefetch the next panel of B, one line of each of its rows: the first tile
 * the first line, and so on up to this one; 0 for never. The rows lie as far apart as pages, and are
 * too short for a CPU to see a stream in them. */
#ifndef PREFETCH_B
#define PREFETCH_B 2
#endif
#define LINE (64 / REAL_BYTES)

#endif
