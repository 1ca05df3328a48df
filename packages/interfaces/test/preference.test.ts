import { describe, expect, it } from 'vitest';
import { extractPreferencePrompt } from '../src/index.js';

const user = { role: 'user', content: 'Hi' };
const say = (content: string) => ({ role: 'assistant', content });

describe('extractPreferencePrompt', () => {
  it.each<[string | readonly unknown[], string | readonly unknown[], object]>([
    ['2+2= 4', '2+2= 5', { prompt: '2+2=', chosen: ' 4', rejected: ' 5' }],
    ['abc', 'abd', { prompt: 'ab', chosen: 'c', rejected: 'd' }],
    ['yes', 'no', { prompt: '', chosen: 'yes', rejected: 'no' }],
    // Halves of a surrogate pair are no characters.
    ['😀', '😁', { prompt: '', chosen: '😀', rejected: '😁' }],
    [
      [user, say('a')],
      [{ content: 'Hi', role: 'user' }, say('b')],
      { prompt: [user], chosen: [say('a')], rejected: [say('b')] },
    ],
    // A space that is a message is a message.
    [[' ', 'a'], [' ', 'b'], { prompt: [' '], chosen: ['a'], rejected: ['b'] }],
  ])('%j and %j', (chosen, rejected, wanted) => {
    expect(extractPreferencePrompt(chosen, rejected)).toEqual(wanted);
  });

  it.each<[string | readonly unknown[], string | readonly unknown[], string]>([
    ['a', 'ab', 'chosen'],
    ['ab', 'a', 'rejected'],
    ['same', 'same', 'chosen'],
    ['', '', 'chosen'],
    [[user], [user, say('a')], 'chosen'],
  ])('%j and %j leave nothing to prefer', (chosen, rejected, which) => {
    expect(extractPreferencePrompt(chosen, rejected)).toBe(which);
  });
});
