import { describe, expect, it } from 'vitest';
import { assertKnownOptions, isPosttrainError, nearestName, OptionError, PosttrainError } from '../src/index.js';

class DiskError extends PosttrainError {}

describe('PosttrainError', () => {
  it('carries its code, its class name and its cause', () => {
    const cause = new Error('ENOSPC');
    const error = new DiskError('DISK_FULL', 'the disk is full', { cause });
    expect(error).toMatchObject({ name: 'DiskError', code: 'DISK_FULL', message: 'the disk is full', cause });
    expect(error).toBeInstanceOf(PosttrainError);
  });

  it('is recognised across copies of the package, and nothing else is', () => {
    const fromAnotherCopy = Object.defineProperty(new Error('x'), Symbol.for('posttrain.error'), { value: true });
    expect([new DiskError('A', 'a'), fromAnotherCopy].map(isPosttrainError)).toEqual([true, true]);
    expect([new Error('x'), null, undefined, 'x', {}].map(isPosttrainError)).toEqual(Array(5).fill(false));
  });
});

describe('nearestName', () => {
  it('finds a name with a slip in it, whatever its case', () => {
    expect(nearestName('tempratureScale', ['topK', 'temperatureScale'])).toBe('temperatureScale');
    expect(nearestName('TOPK', ['topP', 'topK'])).toBe('topK');
  });

  it('does not look for a name that is too long to be a slip', () => {
    expect(nearestName('x'.repeat(200), ['x'.repeat(199)])).toBeUndefined();
  });

  it('finds none when nothing is near', () => {
    expect(nearestName('banana', ['topK', 'temperature'])).toBeUndefined();
    expect(nearestName('topK', [])).toBeUndefined();
  });
});

describe('assertKnownOptions', () => {
  it('throws the one class that errors about options have', () => {
    const failure = (options: object) => {
      try {
        assertKnownOptions('generate', options, ['maxTokens'], { aliases: { max_new_tokens: 'maxTokens' } });
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(failure({ max_new_tokens: 1 })).toBeInstanceOf(OptionError);
    expect(failure({ max_new_tokens: 1 })).toMatchObject({
      ...{ code: 'UNKNOWN_OPTION', where: 'generate', option: 'max_new_tokens' },
      message: 'generate: unknown option "max_new_tokens". It is called "maxTokens" here. Known options: maxTokens.',
    });
    expect(failure(['a'])).toMatchObject({ code: 'INVALID_OPTION', option: 'options' });
    // A name that every object inherits has no hint.
    expect(failure({ constructor: 1 })).toMatchObject({
      message: 'generate: unknown option "constructor". Known options: maxTokens.',
    });
  });

  it('accepts known keys', () => {
    expect(() => assertKnownOptions('generate', { topK: 1, seed: 2 }, ['seed', 'topK'])).not.toThrow();
  });

  it('names the place, the key, the nearest known key and the known keys', () => {
    expect(() => assertKnownOptions('generate', { topk: 1 }, ['seed', 'topK'])).toThrow(
      'generate: unknown option "topk". Did you mean "topK"? Known options: seed, topK.',
    );
  });
});
