import { heldBack } from './held-back.js';

/**
 * Where a model's reasoning is, by vLLM's names. `deepseek_r1`: an answer begins with it, the template having opened the tag
 * (DeepSeek-R1, Qwen3-Thinking); a tag that comes nevertheless is left out. `qwen3`: there is some only where the answer
 * begins with `<think>` (Qwen3, which may be told not to).
 */
export const REASONING_PARSERS = ['deepseek_r1', 'qwen3'] as const;
/** The name of a reasoning parser. */
export type ReasoningParserName = (typeof REASONING_PARSERS)[number];

const OPEN = '<think>';
const CLOSE = '</think>';

export interface ReasoningPiece {
  readonly reasoning: string;
  /** What does not belong to the reasoning. */
  readonly text: string;
}

/** Parts `<think>…</think>` from the answer behind it, as text comes. White space around the tags belongs to neither. */
export class ReasoningParser {
  readonly #mayLackOpening: boolean;
  #buffer = '';
  #state: 'start' | 'reasoning' | 'behind' | 'text' = 'start';

  constructor(name: ReasoningParserName) {
    this.#mayLackOpening = name === 'deepseek_r1';
  }

  push(text: string): ReasoningPiece {
    this.#buffer += text;
    if (this.#state === 'start' && !this.#start()) return NOTHING;
    let reasoning = '';
    if (this.#state === 'reasoning') {
      const at = this.#buffer.indexOf(CLOSE);
      const known =
        at < 0 ? this.#buffer.slice(0, this.#buffer.length - heldBack(this.#buffer, CLOSE)) : this.#buffer.slice(0, at);
      reasoning = known.trimEnd();
      if (at < 0) {
        this.#buffer = this.#buffer.slice(reasoning.length);
        return { reasoning, text: '' };
      }
      this.#buffer = this.#buffer.slice(at + CLOSE.length);
      this.#state = 'behind';
    }
    if (this.#state === 'behind') {
      this.#buffer = this.#buffer.trimStart();
      if (this.#buffer !== '') this.#state = 'text';
    }
    const rest = this.#buffer;
    this.#buffer = '';
    return { reasoning, text: rest };
  }

  /** What was held back, when nothing follows. */
  end(): ReasoningPiece {
    const rest = this.#buffer;
    this.#buffer = '';
    if (this.#state === 'reasoning') return { reasoning: rest.trimEnd(), text: '' };
    const isReasoning = this.#state === 'start' && this.#mayLackOpening;
    return isReasoning ? { reasoning: rest.trim(), text: '' } : { reasoning: '', text: rest };
  }

  /** Whether it is clear what the answer begins with. */
  #start(): boolean {
    const trimmed = this.#buffer.trimStart();
    if (OPEN.startsWith(trimmed) && trimmed !== OPEN) return false;
    const hasTag = trimmed.startsWith(OPEN);
    const content = hasTag ? trimmed.slice(OPEN.length) : trimmed;
    if (!hasTag && !this.#mayLackOpening) {
      this.#state = 'text';
      return true;
    }
    const reasoning = content.trimStart();
    if (reasoning === '') return false;
    this.#buffer = reasoning;
    this.#state = 'reasoning';
    return true;
  }
}

const NOTHING: ReasoningPiece = { reasoning: '', text: '' };
