import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, hashFraction } from '../src/index.js';

describe('stable hash', () => {
  test('canonical JSON does not depend on key order, and parses back', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('the fraction is the first 48 bits of SHA-256', () => {
    // sha256("abc") = ba7816bf8f01cfea..., from FIPS 180-4.
    expect(hashFraction('abc')).toBe(0xba7816bf8f01 / 2 ** 48);
  });
});
