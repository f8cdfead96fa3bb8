/* An allocator to preload: counts what a process asks for and holds, and refuses on demand.

   It refuses what fastbp's compiled modules ask for, be it memory or an object, and the memory of
   arrays. What the interpreter and NumPy ask for elsewhere it grants, because neither survives every
   such refusal; nor does CPython 3.11 if a list cannot grow. Built and preloaded by allocator.py;
   glibc serves. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stddef.h>
#include <string.h>

enum { DEPTH = 24 };                    /* frames from an allocation to who asked for it */
/* The interpreter's loop; and a list that CPython up to 3.12 loses if it cannot extend another. */
static const char *others[] = {"_PyEval_EvalFrameDefault", "PySequence_List", "_PyList_Extend", NULL};

static long calls, held, refused, wait = -1;

static long get(long *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static long add(long *p, long n) { return __atomic_add_fetch(p, n, __ATOMIC_SEQ_CST); }
static void set(long *p, long n) { __atomic_store_n(p, n, __ATOMIC_SEQ_CST); }

long allocations(void) { return get(&calls); }
long blocks(void) { return get(&held); }
long refusals(void) { return get(&refused); }
void refuse(long after) { set(&wait, after); }      /* one, after so many that are granted */
void relent(void) { set(&wait, -1); }

__attribute__((constructor)) static void prepare(void) {
    void *frames[DEPTH];
    backtrace(frames, DEPTH);           /* allocates at its first call */
}

enum kind { SELF, PASSES_ON, OURS, OTHERS };

static enum kind kind_of(char *address) {
    static struct { char *address; enum kind kind; } seen[1 << 12];     /* dladdr is slow */
    size_t at = (size_t)address % (1 << 12);
    if (seen[at].address != address) {
        Dl_info info = {0}, own;
        enum kind kind = PASSES_ON;
        if (dladdr(address, &info) && dladdr((void *)kind_of, &own)) {
            if (info.dli_fbase == own.dli_fbase) kind = SELF;
            if (strstr(info.dli_fname, "/fastbp/_")) kind = OURS;
            if (strstr(info.dli_fname, "/numpy/")) kind = OTHERS;
        }
        for (const char **name = others; info.dli_sname && *name; name++)
            if (strcmp(info.dli_sname, *name) == 0) kind = OTHERS;
        seen[at].address = address;
        seen[at].kind = kind;
    }
    return seen[at].kind;
}

/* What asks is whoever called the C API: a growing list counts where no API is between. */
static int refusable(int growth) {
    void *frames[DEPTH];
    int n = backtrace(frames, DEPTH), direct = 1;
    for (int i = 0; i < n; i++) {
        enum kind kind = kind_of((char *)frames[i] - 1);
        if (kind == OURS || kind == OTHERS) return kind == OURS && (direct || !growth);
        if (kind == PASSES_ON) direct = 0;
    }
    return 0;
}

static int turn(void) {
    if (get(&wait) < 0 || add(&wait, -1) >= 0) return 1;
    add(&refused, 1);
    errno = ENOMEM;
    return 0;
}

static int granted(int growth) {
    add(&calls, 1);
    return get(&wait) < 0 || !refusable(growth) || turn();
}

static int array_granted(void) {
    add(&calls, 1);
    return turn();
}

static void *counted(void *p) {
    if (p != NULL) add(&held, 1);
    return p;
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* The memory of arrays: the handler of NumPy's PyDataMem_SetHandler, and its capsule's name. */
static void *array_malloc(void *_, size_t n) {
    return array_granted() ? counted(__libc_malloc(n)) : NULL;
}
static void *array_calloc(void *_, size_t n, size_t size) {
    return array_granted() ? counted(__libc_calloc(n, size)) : NULL;
}
static void *array_realloc(void *_, void *p, size_t n) {
    return array_granted() ? __libc_realloc(p, n) : NULL;
}
static void array_free(void *_, void *p, size_t n) {
    if (p != NULL) add(&held, -1);
    __libc_free(p);
}

char capsule_name[] = "mem_handler";
struct {
    char name[127];
    unsigned char version;
    void *context;
    void *(*malloc)(void *, size_t), *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *, size_t);
} array_handler = {"tests", 1, NULL, array_malloc, array_calloc, array_realloc, array_free};

void *malloc(size_t n) { return granted(0) ? counted(__libc_malloc(n)) : NULL; }
void *calloc(size_t n, size_t size) {
    return granted(0) ? counted(__libc_calloc(n, size)) : NULL;
}
void *memalign(size_t a, size_t n) {
    return granted(0) ? counted(__libc_memalign(a, n)) : NULL;
}
void *aligned_alloc(size_t a, size_t n) { return memalign(a, n); }

int posix_memalign(void **p, size_t a, size_t n) {
    void *block = memalign(a, n);
    if (block == NULL) return ENOMEM;
    *p = block;
    return 0;
}

void *realloc(void *p, size_t n) {
    if (!granted(1)) return NULL;
    void *block = __libc_realloc(p, n);
    if (p == NULL) return counted(block);
    if (block == NULL && n == 0) add(&held, -1);
    return block;
}

void free(void *p) {
    if (p != NULL) add(&held, -1);
    __libc_free(p);
}
