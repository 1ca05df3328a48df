import { afterEach, describe, expect, it, vi } from 'vitest';
import { constraintAutomaton } from '../../lm/src/constraint/compile-constraint.js';
import { tinyModel } from '../../lm/test/support.js';
import { TextWorker } from '../src/tokenize.js';

afterEach(() => vi.restoreAllMocks());

async function texts(kind = 'byte-level-bpe') {
  const { tokenizer, chatTemplate } = await tinyModel(kind);
  const spy = vi.spyOn(tokenizer, 'encode');
  return { tokenizer, chatTemplate: chatTemplate!, worker: new TextWorker({ tokenizer, chatTemplate }), spy };
}

const long = 'The quick brown fox. '.repeat(800);

describe('TextWorker', () => {
  it.each(['byte-level-bpe', 'sentencepiece-bpe'])(
    'gives the tokenizer’s tokens, of long texts in a thread: %s',
    async (kind) => {
      const { tokenizer, chatTemplate, worker, spy } = await texts(kind);
      const chat = { messages: [{ role: 'user' as const, content: long }] };
      const [text, short, rendered] = await Promise.all([
        worker.tokenize({ text: long, addSpecialTokens: true }),
        worker.tokenize({ text: 'short', addSpecialTokens: true }),
        worker.tokenize({ chat }),
      ]);
      // Here it has made tokens of the short one only.
      expect(spy.mock.calls.map(([given]) => given.length)).toEqual([5]);
      expect(text).toEqual(tokenizer.encode(long));
      expect(short).toEqual(tokenizer.encode('short'));
      expect(rendered).toEqual(chatTemplate.renderChat(chat.messages, { addGenerationPrompt: true }).tokenIds);
    },
  );

  it('goes on after an error, and after a task whose asker has gone', async () => {
    const { tokenizer, worker } = await texts();
    const refused = worker.tokenize({
      chat: { messages: [{ role: 'nobody' as 'user', content: { x: long } as never }] },
    });
    await Promise.resolve(refused).catch(() => undefined);
    const gone = new AbortController();
    const running = worker.tokenize({ text: long.repeat(20), addSpecialTokens: true }, gone.signal);
    const waiting = worker.tokenize({ text: long.repeat(20), addSpecialTokens: true }, gone.signal);
    const other = worker.tokenize({ text: long, addSpecialTokens: true });
    gone.abort(new Error('gone'));
    await expect(running).rejects.toThrow('gone');
    await expect(waiting).rejects.toThrow('gone');
    expect(await other).toEqual(tokenizer.encode(long));
  });

  it('builds automata of constraints in the thread, the tokenizer still being here only', async () => {
    const { worker, tokenizer } = await texts();
    const saved = vi.spyOn(tokenizer, 'save');
    const constraint = { type: 'json-schema', schema: { type: 'string', pattern: '^a{3,5}$' } } as const;
    expect(await worker.automaton(JSON.stringify(constraint))).toEqual(constraintAutomaton(constraint));
    const wrong = JSON.stringify({ type: 'json-schema', schema: { $ref: '#/x' } });
    await expect(worker.automaton(wrong)).rejects.toMatchObject({
      code: 'INVALID_CONSTRAINT',
      message: expect.stringMatching(/points nowhere/),
    });
    expect(saved).not.toHaveBeenCalled();
    const gone = new AbortController();
    const large = { type: 'json-schema', schema: { enum: Array.from({ length: 50_000 }, (_, i) => i) } };
    const left = worker.automaton(JSON.stringify(large), gone.signal);
    const other = worker.automaton(JSON.stringify(constraint));
    gone.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    expect(await other).toEqual(constraintAutomaton(constraint));
    expect(await worker.tokenize({ text: long, addSpecialTokens: true })).toEqual(tokenizer.encode(long));
    expect(saved).toHaveBeenCalledOnce();
  });
});
