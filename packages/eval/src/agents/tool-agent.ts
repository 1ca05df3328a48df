import type { ChatMessage, Generator, SamplingParams, Usage } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { parseFunctionCalls } from '../instructions/function-calls.js';
import type { Agent } from '../kinds/agent.js';
import { pythonValue } from '../python/expression.js';
import { assertLength } from '../task-kind.js';

/** A tool: a pure function of a state, which gives the next one and what the model is told. What it throws is told to the model, and nothing changes. */
export interface Tool<State> {
  /** One line: what it does, with its arguments. */
  readonly description: string;
  run(state: State, args: Readonly<Record<string, unknown>>): { readonly state: State; readonly result: unknown };
}

/** What `toolAgent` is made of. */
export interface ToolAgentOptions<State> {
  readonly generator: Generator;
  readonly tools: Readonly<Record<string, Tool<State>>>;
  /** Rules of the place, before the tools. Default: none. */
  readonly policy?: string;
  /** Times that the model may speak. Default 20. */
  readonly maxTurns?: number;
  readonly sampling?: Omit<SamplingParams, 'seed'>;
}

/**
 * A model with tools that change a state, in the manner of τ-bench (arXiv 2406.12045): it speaks until it makes no more calls. Calls are Python's,
 * `name(argument="…")`, or a list of them, as the whole turn. The state begins as the column `state` of the row; what it is at the end is the run's.
 *
 * @throws EvaluationError `BAD_TASK` for a number of turns that is not above 0; `act` rejects with `BAD_RESPONSE`
 */
export function toolAgent<State>({
  generator,
  tools,
  policy,
  maxTurns = 20,
  sampling,
}: ToolAgentOptions<State>): Agent {
  if (!Number.isInteger(maxTurns) || maxTurns < 1)
    throw new EvaluationError('BAD_TASK', `toolAgent: maxTurns is ${maxTurns}; it must be a whole number above 0.`);
  const list = Object.entries(tools).map(([name, { description }]) => `${name}: ${description}`);
  const rules = `You have tools. To use one, say nothing but the call, such as name(argument="value"). When all is done, say so without a call.\n\n${list.join('\n')}`;
  const system: ChatMessage = { role: 'system', content: policy === undefined ? rules : `${policy}\n\n${rules}` };
  return {
    name: generator.name,
    async act({ prompt, row, seed, signal }) {
      const asked: ChatMessage[] = [
        system,
        ...(typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt),
      ];
      const messages: ChatMessage[] = [];
      const usages: Usage[] = [];
      let state = structuredClone(row.state) as State;
      while (usages.length < maxTurns) {
        const request = {
          prompt: [...asked, ...messages],
          ...sampling,
          seed: seed + usages.length,
          ...(signal && { signal }),
        };
        const [completions] = await generator.generate([request]);
        assertLength(generator.name, 'completions', completions?.length ?? 0, 1, 'request');
        const { text, usage } = completions![0]!;
        usages.push(usage);
        const calls = callsIn(text);
        const said = calls.map(({ name, args }) => ({
          type: 'function',
          function: { name, arguments: JSON.stringify(args) },
        }));
        messages.push({ role: 'assistant', content: text, ...(said.length > 0 && { tool_calls: said }) });
        if (calls.length === 0) break;
        for (const { name, args } of calls) {
          const outcome = run(tools, state, name, args);
          state = outcome.state;
          messages.push({ role: 'tool', name, content: outcome.told });
        }
      }
      const sum = (of: 'promptTokens' | 'completionTokens') => usages.reduce((total, usage) => total + usage[of], 0);
      return {
        messages,
        state,
        modelCalls: usages.length,
        usage: { promptTokens: sum('promptTokens'), completionTokens: sum('completionTokens') },
      };
    },
  };
}

/** Calls that a turn makes; none where it is no list of calls. */
function callsIn(text: string): { readonly name: string; readonly args: Readonly<Record<string, unknown>> }[] {
  try {
    return parseFunctionCalls(text).map(({ name, named }) => ({
      name,
      args: Object.fromEntries(named.map(([key, value]) => [key, pythonValue(value)])),
    }));
  } catch (error) {
    if (error instanceof EvaluationError) return [];
    throw error;
  }
}

function run<State>(
  tools: ToolAgentOptions<State>['tools'],
  state: State,
  name: string,
  args: Readonly<Record<string, unknown>>,
) {
  const tool = Object.hasOwn(tools, name) ? tools[name] : undefined;
  if (!tool) return { state, told: `Error: there is no tool ${name}.` };
  try {
    // A copy: a tool that throws has changed nothing.
    const { state: next, result } = tool.run(structuredClone(state), args);
    return { state: next, told: JSON.stringify(result ?? null) };
  } catch (error) {
    return { state, told: `Error: ${error instanceof Error ? error.message : String(error)}` };
  }
}
