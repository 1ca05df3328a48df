// Self-test: small products of odd sizes and of whole numbers, which have to come out exactly.
#include "quantized.h"
#include <stdlib.h>
#include <string.h>

static void one_after_the_other(void *context, void (*work)(void *, size_t), size_t count, void *data) {
  (void)context;
  for (size_t i = 0; i < count; i++) work(data, i);
}

enum { MOST_ROWS = 19, OUT = 37, IN = 152, BLOCK = 32, BLOCKS = (IN + BLOCK - 1) / BLOCK };

// Whole numbers, so that sums in any order are exact: what is not whole among the levels is left out.
static int code_of(Format format, int i) {
  if (format == INT8) return i * 37 % 256;
  int all = i * 7 % 16;
  if (format == INT4) return all;
  static const int whole_nf4[] = {0, 7, 15}, whole_fp4[] = {0, 3, 11, 8};
  return format == NF4 ? whole_nf4[i % 3] : whole_fp4[i % 4];
}

static int product_is_right(const Arithmetic *how, Format format, int rows, int is_transposed, int kind) {
  static _Thread_local uint8_t codes[OUT * BLOCKS * BLOCK], zeros[OUT * ((BLOCKS + 1) / 2)];
  static _Thread_local float scales[OUT * BLOCKS], numbers[OUT * BLOCKS], x[MOST_ROWS * IN], y[MOST_ROWS * IN];
  int zero_kind = kind % 3, rounds = kind >= 3;
  memset(codes, 0, sizeof codes);
  Weight w = {format, OUT, IN, BLOCK, codes, scales, zero_kind == 1 ? zeros : 0, zero_kind == 2 ? numbers : 0};
  int64_t elements = format == INT8 ? IN : elements_of_row(&w);
  for (int64_t i = 0; i < OUT * elements; i++) {
    int code = code_of(format, (int)(i % 1009));
    if (format == INT8) codes[i] = code;
    else codes[i / 2] |= code << 4 * ((i % 2 == 1) == (format == INT4));
  }
  for (int i = 0; i < OUT * ((BLOCKS + 1) / 2); i++) zeros[i] = i * 29 % 256;
  for (int i = 0; i < OUT * BLOCKS; i++) {
    scales[i] = format == INT8 ? 127.0f * (1 + i % 3) : 1 << i % 3;
    numbers[i] = i % 11;
  }
  int64_t width = is_transposed ? OUT : IN, columns = is_transposed ? IN : OUT;
  // Rounding leaves these as they are: every block has a 127.
  for (int64_t i = 0; i < rows * width; i++) x[i] = rounds || format == INT8 ? (i % width % 16 == 0 ? 127 : i * 5 % 19 - 9) : i * 5 % 11 - 5;
  if (format == INT8 && !is_transposed) x[3] = 200;
  for (int64_t i = 0; i < rows * columns; i++) y[i] = -1e9f;
  QuantizedProduct p = {w, x, y, rows, is_transposed, rounds, format == INT8 && !is_transposed ? 150 : 0};
  if (multiply_quantized(how, &p, one_after_the_other, 0)) return 0;
  for (int64_t m = 0; m < rows; m++)
    for (int64_t j = 0; j < columns; j++) {
      double wanted = 0, size = 0;
      for (int64_t k = 0; k < width; k++) {
        int64_t out = is_transposed ? k : j, in = is_transposed ? j : k;
        double term = (double)x[m * width + k] * (format == INT8 ? unpacked_at(&w, in, out) : unpacked_at(&w, out, in));
        wanted += term;
        size += term < 0 ? -term : term;
      }
      // A 127th is no exact number.
      double allowed = format == INT8 || rounds ? 1e-6 * size : 0;
      if (!(y[m * columns + j] - wanted <= allowed && wanted - y[m * columns + j] <= allowed)) return 0;
    }
  return 1;
}

int quantized_is_right(const Arithmetic *how) {
  // bfloat16 has no use for whole numbers of this size.
  if (how->steps_per_word != 1) return 1;
  for (int format = 0; format < FORMATS; format++)
    for (int kind = 0; kind < (format == INT4 ? 6 : 1); kind++)
      for (int turn = 0; turn < 4; turn++) {
        static const int rows[] = {1, 7, MOST_ROWS, 2};
        if (turn == 3 && kind >= 3) continue;
        if (!product_is_right(how, format, rows[turn], turn == 3, kind)) return 0;
      }
  return 1;
}
