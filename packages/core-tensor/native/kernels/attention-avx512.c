// The loops of attention for AVX-512.
#include "product.h"
#ifdef POSTTRAIN_X86
#define FOR TARGET("avx512f,avx512bw,avx512vl,avx512dq,fma")
#define LOOPS attention_loops_avx512
#include "attention-loops.h"
#endif
