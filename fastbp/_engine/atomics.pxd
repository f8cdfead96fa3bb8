# Numbers that several threads read and write.

cdef extern from * nogil:
    int ACQUIRE "__ATOMIC_ACQUIRE"
    int RELEASE "__ATOMIC_RELEASE"
    int ORDERED "__ATOMIC_SEQ_CST"
    int atomic_load "__atomic_load_n"(const int* p, int order) noexcept
    void atomic_store "__atomic_store_n"(int* p, int value, int order) noexcept
    int atomic_exchange "__atomic_exchange_n"(int* p, int value, int order) noexcept
    int compare_and_swap "__sync_val_compare_and_swap"(int* p, int old, int new) noexcept
    long long get_count "__atomic_load_n"(const long long* p, int order) noexcept
    void set_count "__atomic_store_n"(long long* p, long long value, int order) noexcept
    long long add_count "__atomic_add_fetch"(long long* p, long long n, int order) noexcept
    bint claim_next "__sync_bool_compare_and_swap"(long long* p, long long old,
                                                   long long new) noexcept
    long long swap_holder "__sync_val_compare_and_swap"(long long* p, long long old,
                                                        long long new) noexcept
