import * as kubernetes from '@kubernetes/client-node';

interface Attribute {
  readonly baseName: string;
  readonly type: string;
}

/** The fields of each type of Kubernetes' API, by the name of its class in the client library. */
const attributes = new Map<string, readonly Attribute[]>();
for (const [name, type] of Object.entries(kubernetes)) {
  if (typeof type === 'function' && 'getAttributeTypeMap' in type && typeof type.getAttributeTypeMap === 'function') {
    attributes.set(name, type.getAttributeTypeMap());
  }
}

/**
 * The fields of an object that Kubernetes has none of, as paths. Its JSON schemas let them pass, as the API server does, which
 * then drops them: a misspelt one is a setting that is not there.
 */
export function unknownFields(value: unknown, typeName: string, path = ''): string[] {
  const list = /^Array<(.+)>$/.exec(typeName)?.[1];
  if (list !== undefined && Array.isArray(value)) {
    return value.flatMap((item, index) => unknownFields(item, list, `${path}[${index}]`));
  }
  const known = attributes.get(typeName);
  if (known === undefined || typeof value !== 'object' || value === null) return []; // text, numbers, maps of free keys
  return Object.entries(value).flatMap(([name, inner]) => {
    const attribute = known.find(({ baseName }) => baseName === name);
    return attribute === undefined ? [`${path}.${name}`] : unknownFields(inner, attribute.type, `${path}.${name}`);
  });
}
