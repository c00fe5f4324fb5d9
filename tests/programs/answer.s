# SPDX-License-Identifier: MIT
# A program that says so and ends with status 42.
        .section .rodata
text:   .ascii "the answer\n"
        .equ bytes, . - text

        .text
        .globl _start
_start: mov $1, %eax
        mov $1, %edi
        lea text(%rip), %rsi
        mov $bytes, %edx
        syscall
        mov $231, %eax
        mov $42, %edi
        syscall
