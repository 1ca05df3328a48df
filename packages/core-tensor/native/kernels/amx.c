// x86 with AMX: tiles of 16 rows by 16 columns by 32 bfloat16, four sums at a time.
#include "bfloat16.h"
#ifdef POSTTRAIN_X86
#include <string.h>
#define AMX TARGET(AVX512_FEATURES ",avx512bf16,amx-tile,amx-bf16")

enum { ROWS = 32, COLUMNS = 32, WORDS = 16 };

// The layout that _tile_loadconfig reads.
typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes_of_row[16];
  uint8_t rows[16];
} TileConfig;

// Rows of the left side, [lines][k]: block after block of 16 words, so that a tile's rows are neighbours.
BFLOAT16 static void pack_rows(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  int64_t words = rounded_up((steps + 1) / 2, WORDS);
  uint32_t *to = panel;
  __m512 scale = _mm512_set1_ps(side->scale);
  for (int64_t word = 0; word < words; word += WORDS)
    for (int64_t first = 0; first < width; first += 16, to += 16 * WORDS) {
      __m512i r[16];
      __mmask16 some = first_lanes(lines - first);
      for (int i = 0; i < 16; i++) {
        int64_t k = 2 * (word + i);
        if (side->k_stride == 1) {
          int given = first + i < lines && 2 * word < steps;
          r[i] = given ? line_as_bfloat16(side->data + (first + i) * side->line_stride + 2 * word, steps - 2 * word, scale)
                       : _mm512_setzero_si512();
        } else {
          const float *from = side->data + k * side->k_stride + first;
          __m512 even = k < steps ? _mm512_maskz_loadu_ps(some, from) : _mm512_setzero_ps();
          __m512 odd = k + 1 < steps ? _mm512_maskz_loadu_ps(some, from + side->k_stride) : _mm512_setzero_ps();
          r[i] = pairs_as_bfloat16(_mm512_mul_ps(scale, even), _mm512_mul_ps(scale, odd));
        }
      }
      if (side->k_stride != 1) transpose_words(r);
      for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + i * WORDS, r[i]);
    }
}

BFLOAT16 static void pack_columns(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  pack_pairs(side, lines, width, steps, rounded_up((steps + 1) / 2, WORDS), panel);
}

AMX static void tile(const TileWork *work) {
  const int64_t words = work->words, m = work->m, n = work->n;
  const float *src = work->src;
  float *dst = work->dst;
  const uint32_t *a = work->a_panel, *b = work->b_panel;
  float sums[ROWS][COLUMNS];
  TileConfig config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int i = 0; i < 8; i++) {
    config.bytes_of_row[i] = 64;
    config.rows[i] = 16;
  }
  // The threads are ONNX Runtime's, so what the tiles are is said, and given up, within a call.
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t word = 0; word < words; word += WORDS, a += 2 * 16 * WORDS, b += WORDS * COLUMNS) {
    _tile_loadd(4, a, 4 * WORDS);
    _tile_loadd(5, a + 16 * WORDS, 4 * WORDS);
    _tile_loadd(6, b, 4 * COLUMNS);
    _tile_loadd(7, b + 16, 4 * COLUMNS);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, &sums[0][0], 4 * COLUMNS);
  _tile_stored(1, &sums[0][16], 4 * COLUMNS);
  _tile_stored(2, &sums[16][0], 4 * COLUMNS);
  _tile_stored(3, &sums[16][16], 4 * COLUMNS);
  _tile_release();
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++)
      dst[i * work->stride + j] = src ? src[i * work->stride + j] + sums[i][j] : sums[i][j];
}

const Arithmetic amx_arithmetic = {"amx", ROWS, COLUMNS, 2, WORDS, pack_rows, pack_columns, tile, 1};
#endif
