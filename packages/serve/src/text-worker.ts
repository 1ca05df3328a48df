import { parentPort } from 'node:worker_threads';
import { isPosttrainError } from '@posttrain/interfaces';
import { ChatTemplate, Tokenizer } from '@posttrain/lm';
import type { ChatInput } from './served-model.js';
import {
  automatonOf,
  type Texts,
  type TextWorkerReply,
  type TextWorkerRequest,
  tokensOf,
  transferOf,
} from './text-task.js';

// Worker of `TextWorker`: tokenizes texts and compiles constraints, sequentially.

const port = parentPort!;
let texts: Texts | undefined;

async function answer(request: TextWorkerRequest): Promise<TextWorkerReply> {
  switch (request.kind) {
    case 'tokenizer': {
      const { folder, templates } = request;
      const tokenizer = await Tokenizer.load(folder);
      texts = { tokenizer, chatTemplate: templates && new ChatTemplate(tokenizer, templates) };
      return { kind: 'ready' };
    }
    case 'text':
      return { kind: 'tokens', tokenIds: Int32Array.from(tokensOf(texts!, request)) };
    case 'chat': {
      const chat = JSON.parse(request.json) as ChatInput;
      return { kind: 'tokens', tokenIds: Int32Array.from(tokensOf(texts!, { chat })) };
    }
    case 'constraint':
      return { kind: 'automaton', parts: automatonOf(request.json) };
  }
}

function failure(error: unknown): TextWorkerReply {
  const code = isPosttrainError(error) ? error.code : undefined;
  return { kind: 'error', code, message: error instanceof Error ? error.message : String(error) };
}

function send(reply: TextWorkerReply): void {
  port.postMessage(reply, transferOf(reply));
}

port.on('message', (request: TextWorkerRequest) => void answer(request).catch(failure).then(send));
send({ kind: 'ready' });
