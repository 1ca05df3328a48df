// Products of float32 matrices, tile by tile: y = alpha * op(a) op(b) + addend.
#ifndef POSTTRAIN_PRODUCT_H
#define POSTTRAIN_PRODUCT_H
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define POSTTRAIN_X86 1
#define TARGET(features) __attribute__((target(features)))
#endif

#if defined(__aarch64__)
#define POSTTRAIN_ARM64 1
#endif

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

// How matrices are packed. A panel of `lines` lines (rows of a, columns of b) is [k][lines]: one 32-bit word a line and step of k,
// a float32 or two bfloat16 of neighbouring k. Tile processors want the left side as rows instead: [lines][k].
typedef struct {
  const float *data;
  ptrdiff_t line_stride;  // from one line to the next
  ptrdiff_t k_stride;     // from one k to the next; one of the two strides is 1
  float scale;
} Side;

// Packs lines [0, lines) of k [0, steps) into a panel that is `width` lines wide; lines beyond are zeros.
typedef void (*PackPanel)(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel);

// One tile: dst[m][n] = a_panel · b_panel + src, where src may be null or dst itself.
typedef struct {
  int64_t words;  // of k, 32 bits each
  const void *a_panel, *b_panel;
  const float *src;
  float *dst;
  ptrdiff_t stride;  // of src and dst, from row to row
  int64_t m, n;
  // What to have in the cache by the next tiles: as many cache lines from each as there are words.
  const char *soon[2];
} TileWork;

typedef void (*Tile)(const TileWork *work);

typedef struct {
  const char *name;
  int rows, columns;   // of a tile
  int steps_per_word;  // 1: float32; 2: bfloat16
  int word_multiple;   // a panel's words are padded to this many
  PackPanel pack_a, pack_b;
  Tile tile;
  int left_is_rows;  // its left panels are [lines][k]
} Arithmetic;

// The ways to multiply, by position (plain, avx2, avx512, avx512bf16, amx, neon: what graphs say) and by name; null where
// this processor, or this build, has it not.
enum { ARITHMETICS = 6 };
const Arithmetic *arithmetic_at(int position);
const Arithmetic *arithmetic_named(const char *name);
// The one that is used: `bfloat16` asks for bfloat16 factors where those are faster than float32 here.
const Arithmetic *fastest_arithmetic(int bfloat16);

extern const Arithmetic plain_arithmetic;
#ifdef POSTTRAIN_X86
extern const Arithmetic avx2_arithmetic, avx512_arithmetic, avx512bf16_arithmetic, amx_arithmetic;
#endif
#ifdef POSTTRAIN_ARM64
extern const Arithmetic neon_arithmetic;
#endif

// Runs work(data, 0) … work(data, count - 1), in any order and at the same time.
typedef void (*ParallelFor)(void *context, void (*work)(void *data, size_t index), size_t count, void *data);

typedef struct {
  const float *a, *b, *addend;  // addend may be null, or y
  float *y;
  int64_t m, n, k;
  int transpose_a, transpose_b;
  float alpha;
  // Batches: where matrix i of each side begins, in elements; null for one matrix.
  int64_t batch;
  const ptrdiff_t *a_offsets, *b_offsets;
} Product;

// 0, or 1 where there was no memory.
int multiply(const Arithmetic *arithmetic, const Product *product, ParallelFor parallel, void *context);

// Scratch memory, kept from call to call; null where there is none.
typedef struct {
  void *memory;
  size_t bytes;
  int is_taken;
} Scratch;
Scratch *take_scratch(size_t bytes);
void give_back(Scratch *piece);

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t rounded_up(int64_t a, int64_t to) { return (a + to - 1) / to * to; }
#endif
