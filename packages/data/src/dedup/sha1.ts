/** Words of a message schedule; one for all calls, which do not wait in between. */
const schedule = new Int32Array(80);

/**
 * The first 64 bits of the SHA-1 (RFC 3174) of `bytes[start, end)`, its first 8 bytes read as little-endian, as halves: `into[at]` the high one. For messages of some
 * words, of which there are millions: a call of Node's `crypto` costs several times the hash of one.
 */
export function sha1Into(bytes: Uint8Array, start: number, end: number, into: Uint32Array, at: number): void {
  const w = schedule;
  let [h0, h1, h2, h3, h4] = [0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476, 0xc3d2e1f0 | 0];
  const length = end - start;
  const blocks = (length + 72) >>> 6;
  for (let block = 0; block < blocks; block++) {
    const from = start + 64 * block;
    if (from + 64 <= end) {
      for (let i = 0, p = from; i < 16; i++, p += 4)
        w[i] = (bytes[p]! << 24) | (bytes[p + 1]! << 16) | (bytes[p + 2]! << 8) | bytes[p + 3]!;
    } else {
      for (let i = 0; i < 16; i++) w[i] = 0;
      for (let p = Math.min(from, end), i = 0; p < end; p++, i++) w[i >> 2]! |= bytes[p]! << (24 - 8 * (i & 3));
      // One bit behind the message, in the block where it ends, and its length in bits at the end of the last.
      const left = end - from;
      if (left >= 0) w[left >> 2]! |= 0x80 << (24 - 8 * (left & 3));
      if (block === blocks - 1) {
        w[14] = Math.floor(length / 0x20000000);
        w[15] = length << 3;
      }
    }
    for (let i = 16; i < 80; i++) {
      const x = w[i - 3]! ^ w[i - 8]! ^ w[i - 14]! ^ w[i - 16]!;
      w[i] = (x << 1) | (x >>> 31);
    }
    let [a, b, c, d, e] = [h0, h1, h2, h3, h4];
    let i = 0;
    for (; i < 20; i++) {
      const t = (((a << 5) | (a >>> 27)) + ((b & c) | (~b & d)) + e + 0x5a827999 + w[i]!) | 0;
      e = d;
      d = c;
      c = (b << 30) | (b >>> 2);
      b = a;
      a = t;
    }
    for (; i < 40; i++) {
      const t = (((a << 5) | (a >>> 27)) + (b ^ c ^ d) + e + 0x6ed9eba1 + w[i]!) | 0;
      e = d;
      d = c;
      c = (b << 30) | (b >>> 2);
      b = a;
      a = t;
    }
    for (; i < 60; i++) {
      const t = (((a << 5) | (a >>> 27)) + ((b & c) | (b & d) | (c & d)) + e + 0x8f1bbcdc + w[i]!) | 0;
      e = d;
      d = c;
      c = (b << 30) | (b >>> 2);
      b = a;
      a = t;
    }
    for (; i < 80; i++) {
      const t = (((a << 5) | (a >>> 27)) + (b ^ c ^ d) + e + 0xca62c1d6 + w[i]!) | 0;
      e = d;
      d = c;
      c = (b << 30) | (b >>> 2);
      b = a;
      a = t;
    }
    h0 = (h0 + a) | 0;
    h1 = (h1 + b) | 0;
    h2 = (h2 + c) | 0;
    h3 = (h3 + d) | 0;
    h4 = (h4 + e) | 0;
  }
  into[at] = swapped(h1);
  into[at + 1] = swapped(h0);
}

const swapped = (x: number): number => ((x << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24)) >>> 0;
