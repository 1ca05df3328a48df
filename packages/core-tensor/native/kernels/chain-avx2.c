// The loops of chains for AVX2.
#include "product.h"
#ifdef POSTTRAIN_X86
#define FOR TARGET("avx2,fma")
#define LOOPS chain_loops_avx2
#include "chain-loops.h"
#endif
