import { parentPort, workerData } from 'node:worker_threads';
import { isPosttrainError } from '@posttrain/interfaces';
import { ChatTemplate } from '../chat-template/index.js';
import { Tokenizer } from '../tokenizer/index.js';
import { type TextTask, type TextWorkerData, type TextWorkerReply, tokensOf } from './text-task.js';

// Started by `TextWorker`: makes tokens of texts, one after the other.

const { folder, templates } = workerData as TextWorkerData;
const port = parentPort!;
const send = (reply: TextWorkerReply) => port.postMessage(reply);

const tokenizer = await Tokenizer.load(folder);
const chatTemplate = templates && new ChatTemplate(tokenizer, templates);

port.on('message', (task: TextTask) => {
  try {
    send({ tokenIds: Int32Array.from(tokensOf({ tokenizer, chatTemplate }, task)) });
  } catch (error) {
    const code = isPosttrainError(error) ? error.code : undefined;
    send({ code, message: error instanceof Error ? error.message : String(error) });
  }
});
send({ tokenIds: new Int32Array(0) });
