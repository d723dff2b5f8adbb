/* The kernels of probes/cpu.py in C: what a compiled program reaches on this machine. */
#include <stddef.h>
#include <stdint.h>

int32_t read_max(const int32_t *restrict a, ptrdiff_t n) {
    int32_t most = INT32_MIN;
#pragma omp parallel for simd reduction(max : most)
    for (ptrdiff_t i = 0; i < n; i++) most = a[i] > most ? a[i] : most;
    return most;
}

float read_sum(const float *restrict a, ptrdiff_t n) {
    float sum = 0;
#pragma omp parallel for simd reduction(+ : sum)
    for (ptrdiff_t i = 0; i < n; i++) sum += a[i];
    return sum;
}

void copy(float *restrict a, const float *restrict b, ptrdiff_t n) {
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < n; i++) a[i] = b[i];
}

void scale(float *restrict a, const float *restrict b, ptrdiff_t n) {
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < n; i++) a[i] = 3.0f * b[i];
}

void add(float *restrict a, const float *restrict b, const float *restrict c, ptrdiff_t n) {
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < n; i++) a[i] = b[i] + c[i];
}

void triad(float *restrict a, const float *restrict b, const float *restrict c, ptrdiff_t n) {
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < n; i++) a[i] = b[i] + 3.0f * c[i];
}
