import type { JsonObject } from '@posttrain/lm';
import {
  assembleCall,
  type ChatTemplate,
  callArguments,
  type ToolCall,
  toolCallParser,
  toolFormatOf,
} from '@posttrain/lm';
import type { Reply } from './environment.js';

/** What a JSON schema of a tool says, with or without the OpenAI API's wrapper around it. */
const functionOf = (tool: unknown): JsonObject => {
  const { function: inner } = tool as { readonly function?: JsonObject };
  return inner ?? (tool as JsonObject);
};

/** Ids as long as Mistral's templates want them. */
const idOf = (index: number): string => `call${String(index).padStart(5, '0')}`;

/**
 * Reads replies as the model's family writes tool calls, told by its chat template: `content` is what is no call, and `tool_calls`
 * have arguments as objects. A call that is not well formed is text, and its `parseError` says so. Undefined where no tools are offered, or the template has no
 * form of calls that is known.
 *
 * @param tools JSON schemas of the functions that were offered
 */
export function toolReplies(
  chatTemplate: ChatTemplate,
  tools: readonly unknown[] = [],
): ((text: string) => Reply) | undefined {
  const format = tools.length > 0 ? toolFormatOf(chatTemplate) : undefined;
  if (format === undefined) return undefined;
  const functions = new Map(
    tools.map(functionOf).map(({ name, parameters }) => [name as string, (parameters ?? {}) as JsonObject]),
  );
  return (text) => {
    const parser = toolCallParser(format, functions);
    const pieces = [parser.push(text), parser.end()];
    const calls: ToolCall[] = [];
    for (const piece of pieces.flatMap((one) => one.calls)) assembleCall(calls, piece);
    const read = calls.map((call) => ({ name: call.name, arguments: callArguments(call.arguments) }));
    const content = pieces.map((piece) => piece.text).join('');
    if (read.length === 0) return { role: 'assistant', content: text };
    const broken = read.find((call) => call.arguments === undefined);
    if (broken) {
      const parseError = `the arguments of the call of ${broken.name} are no JSON object`;
      return { role: 'assistant', content: text, parseError };
    }
    return {
      role: 'assistant',
      content: content.trim(),
      tool_calls: read.map((call, i) => ({
        ...{ id: idOf(i), type: 'function' as const },
        function: { name: call.name, arguments: call.arguments! },
      })),
    };
  };
}
