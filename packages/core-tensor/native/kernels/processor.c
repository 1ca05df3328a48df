// Which arithmetic this processor has, and which is the fastest.
#include "product.h"
#include <stdatomic.h>
#include <string.h>
#ifdef POSTTRAIN_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef struct {
  int avx2, avx512, bfloat16, amx, is_intel;
} Features;

// What the operating system saves of a thread: the registers that may be used.
static uint64_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

// Linux lends a process the tiles of AMX when it asks.
static int may_use_tiles(void) {
#if defined(__linux__)
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
  return 0;
#endif
}

static Features features_of_processor(void) {
  Features f = {0};
  uint32_t a, b, c, d, b7 = 0, c7 = 0, d7 = 0;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return f;
  f.is_intel = b == 0x756e6547;
  if (a < 7 || !__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return f;
  int has_fma = c >> 12 & 1;
  uint64_t saved = saved_state();
  __get_cpuid_count(7, 0, &a, &b7, &c7, &d7);
  f.avx2 = (saved & 0x6) == 0x6 && has_fma && (b7 >> 5 & 1);
  // avx512f, dq, bw, vl.
  f.avx512 = f.avx2 && (saved & 0xe6) == 0xe6 && (b7 >> 16 & 1) && (b7 >> 17 & 1) && (b7 >> 30 & 1) && (b7 >> 31 & 1);
  uint32_t leaf = 0;
  if (a >= 1) {
    __get_cpuid_count(7, 1, &leaf, &b, &c, &d);
    f.bfloat16 = f.avx512 && (leaf >> 5 & 1);
  }
  f.amx = f.bfloat16 && (saved >> 17 & 3) == 3 && (d7 >> 22 & 1) && (d7 >> 24 & 1) && may_use_tiles();
  return f;
}

static Features features(void) {
  static int known;
  static Features f;
  if (!known) f = features_of_processor();
  known = 1;
  return f;
}
#endif

static void one_after_the_other(void *context, void (*work)(void *, size_t), size_t count, void *data) {
  (void)context;
  for (size_t i = 0; i < count; i++) work(data, i);
}

// Self-test: a small product with odd sizes, of numbers that bfloat16 holds, so that every arithmetic has to be exact.
static int is_right(const Arithmetic *how) {
  enum { M = 37, N = 45, K = 71 };
  float a[M * K], b[K * N], y[M * N];
  for (int i = 0; i < M * K; i++) a[i] = (float)(i * 7 % 13 - 6);
  for (int i = 0; i < K * N; i++) b[i] = (float)(i * 5 % 11 - 5);
  // What is not written must not be right by what was there.
  for (int i = 0; i < M * N; i++) y[i] = -1e9f;
  Product p = {a, b, 0, y, M, N, K, 0, 0, 1.0f, 1, 0, 0};
  if (multiply(how, &p, one_after_the_other, 0)) return 0;
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      float wanted = 0;
      for (int k = 0; k < K; k++) wanted += a[i * K + k] * b[k * N + j];
      if (y[i * N + j] != wanted) return 0;
    }
  return 1;
}

// What the processor has, whether or not it is right.
static const Arithmetic *present(int i) {
  if (i == 0) return &plain_arithmetic;
#ifdef POSTTRAIN_X86
  Features f = features();
  if (i == 1 && f.avx2) return &avx2_arithmetic;
  if (i == 2 && f.avx512) return &avx512_arithmetic;
  if (i == 3 && f.bfloat16) return &avx512bf16_arithmetic;
  if (i == 4 && f.amx) return &amx_arithmetic;
#endif
#ifdef POSTTRAIN_ARM64
  if (i == 5) return &neon_arithmetic;
#endif
  return 0;
}

const Arithmetic *arithmetic_at(int i) {
  // 0: not tested yet; 1: right; 2: not there, or wrong. A second thread that tests too finds the same.
  static atomic_int tested[ARITHMETICS];
  if (i < 0 || i >= ARITHMETICS) return 0;
  const Arithmetic *found = present(i);
  if (!tested[i]) tested[i] = found && is_right(found) ? 1 : 2;
  return tested[i] == 1 ? found : 0;
}

const Arithmetic *arithmetic_named(const char *name) {
  for (int i = 0; i < ARITHMETICS; i++) {
    const Arithmetic *found = arithmetic_at(i);
    if (found && !strcmp(found->name, name)) return found;
  }
  return 0;
}

const Arithmetic *fastest_arithmetic(int bfloat16) {
  const Arithmetic *found = 0;
#ifdef POSTTRAIN_X86
  if (bfloat16) {
    found = arithmetic_named("amx");
    // Intel's own VDPBF16PS takes four times as long as a float32 FMA, which does half as much.
    if (!found && !features().is_intel) found = arithmetic_named("avx512bf16");
  }
#else
  (void)bfloat16;
#endif
  static const char *const of_float32[] = {"avx512", "avx2", "neon"};
  for (size_t i = 0; !found && i < sizeof of_float32 / sizeof *of_float32; i++) found = arithmetic_named(of_float32[i]);
  return found ? found : &plain_arithmetic;
}
