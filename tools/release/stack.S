/* Windows hands out a stack page by page: a function with a frame of more than one page first calls
   this one, which touches each page in turn. It is all that our modules need of a compiler's
   run-time library, which would add 50 kB to each of them. */
#if defined(__x86_64__)         /* rax: bytes of the frame; every register is kept */
    .globl ___chkstk_ms
___chkstk_ms:
    pushq %rcx
    pushq %rax
    leaq 24(%rsp), %rcx         /* the caller's stack pointer */
1:  cmpq $4096, %rax
    jbe 2f
    subq $4096, %rcx
    orq $0, (%rcx)
    subq $4096, %rax
    jmp 1b
2:  subq %rax, %rcx
    orq $0, (%rcx)
    popq %rax
    popq %rcx
    ret
#else                           /* x15: the frame in units of 16 bytes; x16 and x17 are free */
    .globl __chkstk
__chkstk:
    lsl x16, x15, #4
    mov x17, sp
1:  cmp x16, #4096
    b.ls 2f
    sub x17, x17, #4096
    ldr xzr, [x17]
    sub x16, x16, #4096
    b 1b
2:  sub x17, x17, x16
    ldr xzr, [x17]
    ret
#endif
