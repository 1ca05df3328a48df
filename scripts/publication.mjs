// Where the packages say they come from: scripts/publication.json, in every package.json by `npx tsx scripts/write-publication.ts`.
// Nothing is published while it is empty: npm's provenance compares the repository with where a package was built.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** scripts/publication.json of a workspace. */
export const readPublication = (workspace) =>
  JSON.parse(readFileSync(join(workspace, 'scripts', 'publication.json'), 'utf8'));

/** The fields that have no address yet, or one that is none. */
export const missingAddresses = (publication) =>
  ['repository', 'homepage', 'bugs'].filter(
    (field) => !/^https:\/\/[^/\s]+\.[^/\s]+\/?\S*$/.test(publication[field] ?? ''),
  );

/** The fields of the package.json of a folder, relative to the workspace; none while an address is missing. */
export function publicationFields(publication, directory) {
  if (missingAddresses(publication).length > 0) return {};
  const { repository, homepage, bugs } = publication;
  const url = `git+${repository.replace(/\.git$/, '')}.git`;
  return { repository: { type: 'git', url, directory }, homepage, bugs: { url: bugs } };
}
