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

#endif
