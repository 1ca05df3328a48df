import { PosttrainError } from '@posttrain/interfaces';

/** Which GGUF file of a repository is meant: one by its path, or by its quantisation as llama.cpp's tools name it. */
export type GgufChoice = { readonly file: string } | { readonly tag: string };

/**
 * `org/name:Q4_K_M` as the name of a repository and what is wanted of it.
 *
 * @throws PosttrainError when a file is named as well
 */
export function ggufChoice(
  name: string,
  ggufFile: string | undefined,
): { readonly repository: string; readonly choice: GgufChoice | undefined } {
  const colon = name.lastIndexOf(':');
  if (colon < 0) return { repository: name, choice: ggufFile === undefined ? undefined : { file: ggufFile } };
  if (ggufFile !== undefined) {
    throw new PosttrainError('GGUF_CHOICE', `${name}: leave out what is after the colon, or ggufFile "${ggufFile}".`);
  }
  return { repository: name.slice(0, colon), choice: { tag: name.slice(colon + 1) } };
}

/** Whether a path stays in its folder and is a GGUF file that holds a language model (`mmproj` is one of images). */
export const isGguf = (path: string): boolean =>
  /\.gguf$/i.test(path) && !path.split(/[/\\]/).some((part) => ['', '.', '..'].includes(part)) && !/mmproj/i.test(path);

/** The file among `paths` that is meant. @param problem makes the error for one that is not there, or not clear */
export function chosenGguf(
  paths: readonly string[],
  choice: GgufChoice,
  problem: (says: string) => PosttrainError,
): string {
  const files = paths.filter(isGguf).sort();
  const isMeant = (path: string): boolean => {
    if ('file' in choice) return path === choice.file;
    const stem = path.slice(0, -'.gguf'.length).toLowerCase();
    const tag = choice.tag.toLowerCase();
    return tag !== '' && (stem === tag || ['-', '.', '_', '/'].some((mark) => stem.endsWith(mark + tag)));
  };
  const found = files.filter(isMeant);
  if (found.length === 1) return found[0]!;
  const wanted = 'file' in choice ? `file ${choice.file}` : `file of the quantisation "${choice.tag}"`;
  const list = files.length === 0 ? 'it has no GGUF file' : `its GGUF files are ${files.join(', ')}`;
  throw problem(`has ${found.length === 0 ? 'no' : 'more than one'} ${wanted}: ${list}.`);
}
