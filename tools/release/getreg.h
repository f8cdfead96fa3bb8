/* What Microsoft's compiler has built in and Clang with MinGW's headers has not. Free-threaded
   Python asks it for x18, in which Windows on ARM keeps the address of the thread's block. */
static inline unsigned long long __getReg(int number) {
    unsigned long long address;
    (void)number;
    __asm__("mov %0, x18" : "=r"(address));
    return address;
}
