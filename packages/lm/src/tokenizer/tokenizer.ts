import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assertPath } from '@posttrain/interfaces';
import { completeSave, makeFolder, writeAtomically } from '@posttrain/interfaces/node';
import { type JsonObject, readJsonObject, readJsonObjectIfPresent } from '../files.js';
import { TextTokenizer, type TokenizerFiles } from './text-tokenizer.js';

/** Files that make a tokenizer, in the order `transformers` writes them. */
const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
] as const;

/**
 * A Hugging Face tokenizer, as transformers 5.23 loads it from `tokenizer.json` and the files beside it. Text in, token ids
 * out, and back: equal to the reference implementation, or refused by name when it is loaded.
 */
export class Tokenizer extends TextTokenizer {
  /** Reads the tokenizer files of a model folder. @throws InvalidModelFileError */
  static async load(folder: string): Promise<Tokenizer> {
    assertPath('Tokenizer.load', 'folder', folder);
    await completeSave(folder);
    const optional = (name: string) => readJsonObjectIfPresent(join(folder, name));
    const [tokenizer, config, specialTokensMap, addedTokens, modelConfig] = await Promise.all([
      readJsonObject(join(folder, 'tokenizer.json')),
      ...['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'config.json'].map(optional),
    ]);
    return new Tokenizer({
      tokenizer,
      folder,
      ...(config && { config }),
      ...(specialTokensMap && { specialTokensMap }),
      ...(addedTokens && { addedTokens }),
      ...(modelConfig && { modelConfig }),
    });
  }

  /** Writes the tokenizer's files into `folder`, all or none: those it was loaded from, or what it was made of. */
  async save(folder: string): Promise<void> {
    assertPath('Tokenizer.save', 'folder', folder);
    await makeFolder(folder);
    const files = this.files();
    const source = this.folder;
    if (source === undefined) return writeTokenizerFiles(folder, files);
    const config = files.config === undefined || files.config === this.config ? undefined : files.config;
    await writeAtomically(async (staged) => {
      for (const name of TOKENIZER_FILES) {
        if (config && name === 'tokenizer_config.json') {
          await staged.stage(join(folder, name), (write) => write(jsonBytes(config)));
          continue;
        }
        const bytes = await readFile(join(source, name)).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return undefined;
          throw error;
        });
        if (bytes) await staged.stage(join(folder, name), (write) => write(bytes));
      }
    });
  }
}

const jsonBytes = (json: JsonObject): Uint8Array => new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);

async function writeTokenizerFiles(folder: string, files: TokenizerFiles): Promise<void> {
  const { tokenizer, config, specialTokensMap, addedTokens } = files;
  const named = {
    'tokenizer.json': tokenizer,
    'tokenizer_config.json': config,
    'special_tokens_map.json': specialTokensMap,
    'added_tokens.json': addedTokens,
  };
  await writeAtomically(async (staged) => {
    for (const [name, json] of Object.entries(named)) {
      if (!json) continue;
      await staged.stage(join(folder, name), (write) => write(jsonBytes(json)));
    }
  });
}
