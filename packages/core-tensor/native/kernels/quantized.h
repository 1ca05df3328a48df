// Products with quantised weights W [out, in]: y = x Wᵀ, or x W, as docs/core-tensor/quantization.md defines them.
#ifndef POSTTRAIN_QUANTIZED_H
#define POSTTRAIN_QUANTIZED_H
#include "product.h"

// What graphs say.
typedef enum { INT8, INT4, NF4, FP4, FORMATS } Format;

typedef struct {
  Format format;
  int64_t out, in;
  int64_t block;  // elements that share a scale, a power of two; of int4 within a row, which is padded to whole blocks
  // INT8: [in][out], code + 128. INT4: two a byte, the earlier in the low half. NF4 and FP4: in the high half, rows end to end.
  const uint8_t *codes;
  const float *scales;         // INT8: one a row of W, of which a code is a 127th; else one a block
  const uint8_t *zeros;        // INT4: [out][half the blocks, rounded up], packed as the codes are; or
  const float *number_zeros;   // one number a block; or neither, and zero is code 8
} Weight;

// What one processor brings. Rows of memory are rows of W in 4 bits, and columns of it in 8.
typedef struct {
  // to[i] = what the code at `first` + i of row `row` of the memory stands for. `first` is a multiple of 16.
  void (*unpack)(const Weight *weight, int64_t row, int64_t first, int64_t count, float *to);
  // The same of `count` rows, as the columns of a panel of `panel_columns`: to[i][column]; may be null. `first` is a multiple of 128.
  void (*panel)(const Weight *weight, int64_t row, int64_t rows, int64_t first, int64_t count, float *to);
  int panel_columns;
  // Whether `few` below can; else every row of W is unpacked before it is multiplied with.
  int (*has_few)(const Weight *weight, int rounds);
  // Few rows of x: how many bytes a row of x takes as `few` reads it, that row, and y [rows][begin, end) with `stride`.
  size_t (*arranged_bytes)(const Weight *weight, int rounds);
  void (*arrange)(const Weight *weight, int rounds, const float *x, void *to);
  void (*few)(const Weight *weight, int rounds, const void *arranged, int64_t rows, int64_t begin, int64_t end, float *y, int64_t stride);
  // x · y of `count` numbers.
  float (*dot)(const float *x, const float *y, int64_t count);
} QuantizedPath;

extern const QuantizedPath plain_quantized;
#ifdef POSTTRAIN_X86
extern const QuantizedPath avx2_quantized, avx512_quantized;
// Whether the rounded inputs of avx512_quantized may be bytes (VNNI).
int processor_has_vnni(void);
#endif

// Whole numbers: sums of codes (0 … 255) times rounded inputs (-127 … 127), four steps a word. Inputs are packed as [word][rows].
typedef struct {
  int rows, columns;
  void (*tile)(const uint32_t *a_panel, const uint32_t *b_panel, int64_t words, int64_t rows, int32_t *sums);
  // Lines [0, steps) of `stride` bytes, of which `count`, as panels of [word][columns], one behind the other.
  void (*pack)(const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, uint32_t *panels);
  // One row times lines that are not packed: the sums of up to 256 columns. May be null.
  void (*one_row)(const uint32_t *a_panel, const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, int32_t *sums);
  // The largest |x| below the threshold (0: of all), NaN where there is one; and x times a factor, to the nearest byte, even ones first.
  float (*largest)(const float *x, int64_t count, float threshold);
  void (*round)(const float *x, int64_t count, float factor, int8_t *to);
} IntegerTile;
extern const IntegerTile plain_integers;
#ifdef POSTTRAIN_X86
extern const IntegerTile avx2_integers, vnni_integers;
#endif

typedef struct {
  Weight weight;
  const float *x;
  float *y;
  int64_t rows;
  int is_transposed;  // y = x W; else x Wᵀ
  int rounds;         // INT4: blocks of x are rounded to multiples of their largest / 127
  float threshold;    // INT8, x Wᵀ: columns of x in which some |x| reaches it are not rounded; 0: all are
} QuantizedProduct;

// 0, or 1 where there was no memory.
int multiply_quantized(const Arithmetic *how, const QuantizedProduct *product, ParallelFor parallel, void *context);
int multiply_int8(const Arithmetic *how, const QuantizedProduct *product, ParallelFor parallel, void *context);
// The weight as floats: [out][in], or, in 8 bits, [in][out].
void unpack_quantized(const Arithmetic *how, const Weight *weight, float *to, ParallelFor parallel, void *context);
// Whether every format comes out exactly with this arithmetic, in a small product of whole numbers.
int quantized_is_right(const Arithmetic *how);

const QuantizedPath *quantized_path(const Arithmetic *how);
const IntegerTile *integer_tile(const Arithmetic *how);

extern const float four_bit_levels[FORMATS][16];

// Blocks are powers of two, and a division takes as long as twenty multiplications.
static inline int block_shift(const Weight *w) { return __builtin_ctzll(w->block); }
static inline int64_t blocks_of_row(const Weight *w) { return (w->in + w->block - 1) >> block_shift(w); }
// Elements from one row in 4 bits to the next.
static inline int64_t elements_of_row(const Weight *w) { return w->format == INT4 ? blocks_of_row(w) * w->block : w->in; }

static inline float scale_at(const Weight *w, int64_t element) { return w->scales[element >> block_shift(w)]; }

// The zero of the block that an element of `row` is in; the levels have theirs inside.
static inline float zero_at(const Weight *w, int64_t row, int64_t element) {
  int64_t block = element >> block_shift(w);
  if (w->format != INT4) return 0.0f;
  if (w->number_zeros) return w->number_zeros[block];
  if (!w->zeros) return 8.0f;
  int64_t blocks = blocks_of_row(w), i = block - row * blocks;
  return w->zeros[row * ((blocks + 1) / 2) + i / 2] >> 4 * (i % 2) & 15;
}

static inline float unpacked_at(const Weight *w, int64_t row, int64_t i) {
  if (w->format == INT8) return (w->codes[row * w->out + i] - 128) * (w->scales[i] * (1.0f / 127));
  int64_t element = row * elements_of_row(w) + i;
  int is_high = (element % 2 == 1) == (w->format == INT4), code = w->codes[element / 2] >> 4 * is_high & 15;
  return (four_bit_levels[w->format][code] - zero_at(w, row, element)) * scale_at(w, element);
}

// Rounding of inputs in bytes: what a number is multiplied by, of a row or block whose largest |x| is `largest`.
static inline float rounding_factor(float largest, float smallest) { return 127.0f / (largest > smallest ? largest : smallest); }
// Of the smallest number that int4 inputs are divided by: 2^-119.
#define SMALLEST_OF_BLOCK 1.504632769052528e-36f
#endif
