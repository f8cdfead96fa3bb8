"""Where a second thread begins to pay: the measurement behind THREAD_WORK of `_engine/plan.pyx`.

    python bench/crossover.py

Times a gradient with one and with two threads, in turns, on networks of growing work: "hot", call
after call, when the helper still looks out for work, and "cold", after two milliseconds of sleep,
when it must be woken. The unit of the work is that of `threads_for`: bytes of multiply-adds, the
sigmoid of a unit counted as UNIT_WORK of them. A second thread should never lose: THREAD_WORK is
half of the least work from which the cold column stays above 1. Of few rows, to read W is most of
the work: it counts as the products of READING_ROWS, and the threads share columns, not rows.
"""

import os
import statistics
import time

from fastbp._command.problems import problem

UNIT_WORK, READING_ROWS = 40, 4
NETWORKS = [((10, 32, 32, 1), 64), ((30, 64, 64, 1), 64), ((30, 64, 64, 1), 128),
            ((30, 64, 64, 1), 256), ((100, 128, 128, 1), 64), ((100, 128, 128, 1), 128),
            ((100, 128, 128, 1), 256), ((784, 128, 64, 1), 64), ((784, 128, 64, 1), 128),
            ((784, 256, 128, 1), 8), ((784, 256, 128, 1), 64), ((784, 256, 128, 1), 128),
            ((784, 512, 512, 10), 1), ((1024, 1024, 1024, 1), 1), ((1024, 1024, 1024, 1), 2),
            ((1024, 1024, 1024, 1), 4), ((1024, 1024, 1024, 1), 8),
            ((8, 512, 512, 1), 128)]
SAMPLES = 101


def work(sizes, n, itemsize):
    weights = sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
    return (3 * max(n, READING_ROWS) * weights + n * UNIT_WORK * sum(sizes[1:])) * itemsize


def times(net, X, y, pause):
    """Median seconds of a gradient with one and with two threads, `pause` after the one before."""
    samples = [], []
    for _ in range(SAMPLES):
        for n_threads, taken in enumerate(samples, 1):
            net.n_threads = n_threads
            net.backprop(X, y)
            time.sleep(pause)
            start = time.perf_counter()
            net.backprop(X, y)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in samples]


def main():
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("crossover.py needs two CPUs")
    print(f"{'network':>16} batch   dtype {'work/1e6':>9} {'1 thread/us':>12}", "   hot   cold")
    for dtype in ("float32", "float64"):
        for sizes, n in NETWORKS:
            net, X, y = problem(sizes, n, dtype)
            (one, two), (cold_one, cold_two) = (times(net, X, y, pause) for pause in (0, 0.002))
            print(f"{'-'.join(map(str, sizes)):>16} {n:5} {dtype:>7} "
                  f"{work(sizes, n, net.dtype.itemsize) / 1e6:9.1f} {one * 1e6:12.0f} "
                  f"{one / two:6.2f} {cold_one / cold_two:6.2f}")


if __name__ == "__main__":
    main()
