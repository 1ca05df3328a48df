import { type ChatMessage, type DecisiveSettings, settingsOf, showValue } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import type { Environment, ToolCallOfReply } from './environment.js';

/** A function that an assistant may call. */
export interface EnvironmentTool<Row extends PromptRow = PromptRow> {
  /** For the assistant. */
  readonly description: string;
  /** JSON schema of the arguments. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** What the assistant gets to read. An error is told to it, so that it can try again. */
  call(given: Readonly<Record<string, unknown>>, row: Row): string | Promise<string>;
}

/**
 * An environment of tools: calls are answered, and a reply without one is the answer, which rewards see as the completion's text. The
 * model's chat template must take tools; `multiTurn` finds the calls. What a tool draws at random is not known to a resumed run:
 * tools are to be functions of their arguments and the row.
 *
 * @param settings what the tools were made with, which a resumed run must share; left out, their source text stands for it
 */
export function toolEnvironment<Row extends PromptRow = PromptRow>(
  name: string,
  tools: Readonly<Record<string, EnvironmentTool<Row>>>,
  settings: DecisiveSettings = settingsOf(tools) as DecisiveSettings,
): Environment<Row> {
  const schemas = Object.entries(tools).map(([own, { description, parameters }]) => ({
    type: 'function',
    function: { name: own, description, parameters },
  }));
  const answerTo = async (row: Row, call: ToolCallOfReply): Promise<ChatMessage> => {
    const { name: asked, arguments: given } = call.function;
    // The name is the model's: "constructor" is no tool.
    const tool = Object.hasOwn(tools, asked) ? tools[asked] : undefined;
    const content = await resultOf(tool, asked, given, row);
    return { role: 'tool', name: asked, content, tool_call_id: call.id };
  };
  return {
    name,
    settings,
    start: (row) => ({
      messages: typeof row.prompt === 'string' ? [{ role: 'user', content: row.prompt }] : row.prompt,
      tools: schemas,
      async step({ tool_calls: calls = [] }) {
        const messages = [];
        for (const call of calls) messages.push(await answerTo(row, call));
        return { messages, done: messages.length === 0 };
      },
    }),
  };
}

async function resultOf<Row extends PromptRow>(
  tool: EnvironmentTool<Row> | undefined,
  name: string,
  given: Readonly<Record<string, unknown>>,
  row: Row,
): Promise<string> {
  if (!tool) return `error: there is no function ${name}`;
  try {
    const content: unknown = await tool.call(given, row);
    return typeof content === 'string' ? content : `error: ${name} gave ${showValue(content)}, which is no text`;
  } catch (error) {
    return `error: ${error instanceof Error ? error.message : String(error)}`;
  }
}
