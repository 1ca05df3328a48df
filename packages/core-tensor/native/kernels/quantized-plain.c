// Any processor.
#include "quantized-plain.h"

enum { ROWS = 4, COLUMNS = 16 };

static void unpack(const Weight *w, int64_t row, int64_t first, int64_t count, float *to) {
  unpack_plainly(w, row, first, count, to);
}
static int has_no_few(const Weight *w, int rounds) {
  (void)w;
  (void)rounds;
  return 0;
}
static float dot(const float *x, const float *y, int64_t count) { return dot_plainly(x, y, count); }
const QuantizedPath plain_quantized = {unpack, 0, 0, has_no_few, 0, 0, 0, dot};

static void tile(const uint32_t *a, const uint32_t *b, int64_t words, int64_t rows, int32_t *sums) {
  for (int i = 0; i < ROWS * COLUMNS; i++) sums[i] = 0;
  for (int64_t word = 0; word < words; word++, a += ROWS, b += COLUMNS)
    for (int64_t i = 0; i < rows; i++) {
      const int8_t *x = (const int8_t *)(a + i);
      for (int j = 0; j < COLUMNS; j++) {
        const uint8_t *code = (const uint8_t *)(b + j);
        sums[i * COLUMNS + j] += x[0] * code[0] + x[1] * code[1] + x[2] * code[2] + x[3] * code[3];
      }
    }
}
static void pack(const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, uint32_t *panels) {
  pack_codes(codes, stride, steps, count, COLUMNS, panels);
}
static float largest(const float *x, int64_t count, float threshold) { return largest_plainly(x, count, threshold); }
static void round_all(const float *x, int64_t count, float factor, int8_t *to) { round_plainly(x, count, factor, to); }
const IntegerTile plain_integers = {ROWS, COLUMNS, tile, pack, 0, largest, round_all};
