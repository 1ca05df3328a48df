/** Addresses of what is published; each empty until there is one. */
export interface Publication {
  readonly repository: string;
  readonly homepage: string;
  readonly bugs: string;
}
export function readPublication(workspace: string): Publication;
export function missingAddresses(publication: Publication): string[];
export function publicationFields(publication: Publication, directory: string): Readonly<Record<string, unknown>>;
