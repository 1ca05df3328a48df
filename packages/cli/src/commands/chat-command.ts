import { createInterface } from 'node:readline/promises';
import { type ChatMessage, custom, options, type SamplingParams, text } from '@posttrain/interfaces';
import { NoChatTemplateError } from '@posttrain/lm';
import { EXIT } from '../command.js';
import { camelKeys, isRecord } from '../options/names.js';
import { chosen, isNamed } from '../training/made-options.js';
import type { DeclaredCommand } from './declared-command.js';
import { localGenerator } from './local-generator.js';

const shape = {
  /** A Hugging Face folder, a GGUF file, or a name on the hub. It needs a chat template. */
  model: text({}),
  /** What the conversation begins with. Default: nothing. */
  system: text({ optional: true }),
  /** The folder of an adapter. Default: none. */
  adapter: text({ optional: true }),
  /** How tokens are drawn, after a dot: `--sampling.temperature 0.7`, and the others of `SamplingParams`. */
  sampling: custom<SamplingParams>()('options by name', isRecord, { default: {} }),
  /** How the model is quantised as it is read: nf4, fp4, int8, int4 or hqq. Default: as it is. */
  quantization: chosen('the name of a method', isNamed, { optional: true }),
};
const declared = options('chat', shape);

export const chatCommand: DeclaredCommand<typeof shape> = {
  name: 'chat',
  usage: 'MODEL [options]',
  about:
    'A conversation with a local model: a line is a message, an empty one or the end of the input ends it. Ctrl-C ends an answer, and once more the conversation.',
  declared,
  positionals: ['model'],
  async run(given, { print, complain }) {
    const { model, generator } = await localGenerator(given);
    if (!model.chatTemplate) throw new NoChatTemplateError(given.model);
    const messages: ChatMessage[] = given.system === undefined ? [] : [{ role: 'system', content: given.system }];
    const sampling = camelKeys(given.sampling) as SamplingParams;
    const isTerminal = process.stdin.isTTY === true;
    const lines = createInterface({
      input: process.stdin,
      ...(isTerminal && { output: process.stdout, prompt: '> ' }),
    });
    let isOver = false;
    let answering: AbortController | undefined;
    const onInterrupt = () => {
      // The answer ends first, and then the conversation.
      if (answering && !answering.signal.aborted) {
        answering.abort();
        return;
      }
      isOver = true;
      lines.close();
    };
    // A terminal's key is the interface's; a signal is the process's.
    lines.on('SIGINT', onInterrupt);
    process.on('SIGINT', onInterrupt);
    if (isTerminal) lines.prompt();
    for await (const line of lines) {
      if (line.trim() === '') break;
      messages.push({ role: 'user', content: line });
      let answer = '';
      answering = new AbortController();
      for await (const { text: said } of generator.stream({
        ...sampling,
        prompt: messages,
        signal: answering.signal,
      })) {
        answer += said;
        print(said);
      }
      answering = undefined;
      print('\n');
      if (isOver) break;
      messages.push({ role: 'assistant', content: answer });
      if (isTerminal) lines.prompt();
    }
    process.off('SIGINT', onInterrupt);
    lines.close();
    if (isOver) complain('\n');
    return isOver ? EXIT.interrupted : 0;
  },
};
