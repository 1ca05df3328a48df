// The loops of attention for AVX2.
#include "product.h"
#ifdef POSTTRAIN_X86
#define FOR TARGET("avx2,fma")
#define LOOPS attention_loops_avx2
#include "attention-loops.h"
#endif
