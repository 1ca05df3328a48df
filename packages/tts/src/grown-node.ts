import type { Completion, Prompt } from '@posttrain/interfaces';
import type { AnswerExtractor } from '@posttrain/interfaces/answers';
import { answerOf } from './contracts.js';
import { type NodeParts, type SearchNode, stateOf } from './search-node.js';
import { promptHash, type TraceNode } from './trace.js';

/** A node to be added: its parts, and what it has in the trace beside its place. */
export interface NewNode extends Omit<NodeParts, 'node'> {
  readonly answer?: string | null;
  readonly node?: Partial<TraceNode>;
}

/** The node of a completion that was asked for below a parent. Of what was aborted nothing is an answer. */
export function grownNode(grown: {
  readonly key: string;
  readonly parent: SearchNode;
  /** What the completion goes on from. */
  readonly start: string;
  readonly stops: readonly string[];
  readonly completion: Completion;
  readonly extract: AnswerExtractor;
  readonly role?: string | undefined;
  readonly seed: number | undefined;
  /** Where it is not the problem's. */
  readonly prompt?: Prompt | undefined;
}): NewNode {
  const { key, parent, start, stops, completion, extract, role, seed, prompt } = grown;
  const { usage, finishReason } = completion;
  const state = stateOf(completion, stops);
  const step = state === 'open' ? completion.stop! : '';
  const text = start + completion.text + step;
  const isAborted = finishReason === 'abort';
  return {
    ...{ key, parents: [parent], state, text, completion },
    answer: isAborted || state === 'open' ? null : answerOf(extract, text),
    node: {
      text: start === parent.text ? completion.text + step : text,
      finishReason,
      promptTokens: usage.promptTokens,
      ...(usage.cachedPromptTokens === undefined ? {} : { cachedPromptTokens: usage.cachedPromptTokens }),
      completionTokens: usage.completionTokens,
      ...(state === 'open' ? { stop: step } : {}),
      ...(start === parent.text ? {} : { prefix: start }),
      ...(prompt === undefined ? {} : { promptHash: promptHash(prompt) }),
      ...(seed === undefined ? {} : { seed }),
      ...(role === undefined ? {} : { role }),
      ...(isAborted ? { reason: 'aborted' } : {}),
    },
  };
}
