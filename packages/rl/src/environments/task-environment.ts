import type { ChatMessage } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import type { Environment, Reply } from '../rollout/environment.js';

/** An environment with rows of its own, and an oracle whose episodes are worth exactly what it says. */
export interface TaskEnvironment<Row extends PromptRow = PromptRow> extends Environment<Row> {
  /** So many rows, drawn from the seed: the same ones each time, and the first of more. */
  rows(count: number, seed: number): Row[];
  /** The best reply to a conversation, which begins with what the environment's episode begins with. */
  oracle(row: Row, messages: readonly ChatMessage[]): Reply;
  /** What the oracle's episode is worth: rewards of turns and of the episode together. */
  best(row: Row): number;
}

export const user = (content: string): ChatMessage => ({ role: 'user', content });

export const say = (content: string): Reply => ({ role: 'assistant', content });

/** A reply that calls one function. */
export const callOf = (name: string, given: Readonly<Record<string, unknown>>): Reply => ({
  ...say(''),
  tool_calls: [{ id: 'call00000', type: 'function', function: { name, arguments: given } }],
});

/** A whole number from 0 up, below `count`, of a uniform draw. */
export const below = (draw: number, count: number): number => Math.min(count - 1, Math.floor(draw * count));
