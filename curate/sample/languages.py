"""Sentences in other languages, for documents that an English collection should not hold."""

from collections.abc import Iterator
from random import Random

from curate.sample.grammar import Writer

_TEMPLATES: dict[str, list[str]] = {
    "de": [
        "Die [Ärztin|Krankenschwester|Nachbarin] [wartete|stand] am [Morgen|Abend] vor [der Klinik|dem Bahnhof|der "
        "alten Apotheke].",
        "Nach der Untersuchung [sprachen wir|redeten alle] lange über [die Ergebnisse|den Befund|das schlechte "
        "Wetter].",
        "Der Patient [nimmt|bekommt] [jeden Tag|seit {2-9} Wochen] [eine Tablette|zwei Tropfen|ein neues Mittel] "
        "gegen [Husten|Schmerzen|Fieber].",
        "[Im Herbst|Im Winter|Im Frühjahr] [sind|waren] die Straßen [voller Laub|ganz leer|oft überflutet].",
        "Man [sollte nicht vergessen|darf nicht vergessen|sollte daran denken], dass [Bewegung|Schlaf|frische Luft] "
        "[wichtig ist|vielen hilft].",
        "[Meine Schwester|Mein Onkel] [arbeitet|wohnt] seit {1990-2020} in [einem kleinen Dorf|einer großen Stadt] "
        "[am Fluss|in den Bergen].",
        "Das [Buch|Bild|Haus] [gehörte|gefiel] [meinem Großvater|der ganzen Familie], obwohl es [sehr alt|ziemlich "
        "teuer] war.",
        "Wir [haben|hatten] {3-40} [Fragen|Briefe|Anträge] [geprüft|gelesen], aber [keine Antwort|nur wenig Hilfe] "
        "gefunden.",
        "[Heute|Gestern|Am Sonntag] [gab es|kochte sie] [Suppe mit Brot|Fisch und Kartoffeln|einen großen Kuchen] für "
        "[alle Gäste|die Kinder].",
    ],
    "fr": [
        "[Le médecin|L'infirmière|Le pharmacien] [explique|répète] que [le traitement|ce médicament] [doit "
        "durer|dure] {2-12} semaines.",
        "[Hier|Ce matin|Dimanche dernier], nous avons [marché|attendu longtemps] [près de la rivière|devant la "
        "mairie|sous la pluie].",
        "La patiente [se plaint|souffre] [de maux de tête|d'une toux sèche|de douleurs au genou] depuis {2-9} "
        "[jours|mois].",
        "Il [faut|vaut mieux] [boire beaucoup d'eau|dormir davantage|marcher chaque jour] et [éviter le sel|manger "
        "moins de sucre].",
        "[Ma grand-mère|Notre voisin] [habitait|travaillait] dans [un petit village|une grande maison] [au bord de la "
        "mer|à la montagne].",
        "Les enfants [jouaient|chantaient] [dans le jardin|à l'école] pendant que [leur mère|le maître] [lisait un "
        "livre|préparait le repas].",
        "Aucun [effet grave|accident] n'a été [signalé|observé] chez les {20-400} personnes [suivies|interrogées].",
        "[En automne|Au printemps], la ville [devient|semble] [très calme|plus belle], [surtout|même] [le soir|après "
        "la fête].",
        "Le livre [raconte|décrit] [la vie|le voyage] d'un [jeune marin|vieux professeur] qui [cherche|perd] [son "
        "frère|sa maison].",
    ],
    "es": [
        "[La doctora|El enfermero|El farmacéutico] [dijo|explicó] que [la medicina|el jarabe] se toma [por la "
        "noche|con la comida|dos veces al día].",
        "[Ayer|Esta mañana|El domingo] [caminamos|esperamos] [cerca del río|frente a la iglesia|bajo la lluvia] "
        "durante {2-9} horas.",
        "El paciente [tiene|sufre] [fiebre|dolor de espalda|mucha tos] desde hace {2-9} [días|semanas] y [no puede "
        "dormir|come muy poco].",
        "[Conviene|Es necesario] [beber agua|descansar bien|caminar un poco] y [dejar de fumar|comer menos sal].",
        "[Mi abuela|Nuestro vecino] [vivía|trabajaba] en [un pueblo pequeño|una casa antigua] [junto al mar|entre las "
        "montañas].",
        "Los niños [jugaban|cantaban] en [el patio|la plaza] mientras [su madre|el maestro] [leía una carta|preparaba "
        "la cena].",
        "[En otoño|En invierno] la ciudad [parece|queda] [muy tranquila|casi vacía], [sobre todo|incluso] [de "
        "noche|después de la feria].",
        "No se [encontró|observó] ningún [problema grave|cambio] en las {20-400} personas [estudiadas|entrevistadas].",
        "El libro [cuenta|describe] [la historia|el viaje] de un [joven pescador|viejo soldado] que [busca|pierde] a "
        "[su hermano|su perro].",
    ],
    "ru": [
        "[Врач|Медсестра|Аптекарь] [объясняет|говорит], что [лекарство|это средство] [нужно|можно] принимать "
        "[утром|после еды|перед сном].",
        "[Вчера|Сегодня утром|В воскресенье] мы [долго шли|долго ждали] [у реки|возле школы|под дождём].",
        "У больного [уже|всё ещё] [кашель|высокая температура|боль в спине], и он [плохо спит|мало ест] [вторую "
        "неделю|третий день].",
        "[Важно|Полезно] [больше гулять|пить воду|спать восемь часов] и [меньше курить|есть меньше соли].",
        "[Моя бабушка|Наш сосед] [раньше|когда-то] [любила|хотел] жить в [маленькой деревне|старом доме] [у моря|в "
        "горах].",
        "Дети [играли|пели] [во дворе|в саду], пока [их мать|учитель] [читает книгу|готовит обед].",
        "[Осенью|Зимой] город [кажется|становится] [очень тихим|почти пустым], [особенно|даже] [вечером|после "
        "праздника].",
        "Эта книга [рассказывает|говорит] о [жизни|пути] [молодого моряка|старого учителя], который [ищет|теряет] "
        "[брата|свой дом].",
    ],
    "hi": [
        "[डॉक्टर|नर्स] ने [कहा|समझाया] कि [यह दवा|गोली] [सुबह|रात को|खाने के बाद] लेनी चाहिए।",
        "[कल|आज सुबह|रविवार को] हम [नदी के किनारे|स्कूल के सामने|बाज़ार में] [बहुत देर तक|दो घंटे] खड़े रहे।",
        "मरीज़ को [तीन दिन|दो हफ़्ते] से [बुखार|खाँसी|सिर दर्द] है और वह [ठीक से सो नहीं पाता|बहुत कम खाता है]।",
        "[रोज़|हर दिन] [पानी पीना|टहलना|अच्छी नींद लेना] और [नमक कम खाना|धूम्रपान छोड़ना] [ज़रूरी|फ़ायदेमंद] है।",
        "[मेरी दादी|हमारे पड़ोसी] [एक छोटे गाँव|पुराने मकान] में [समुद्र के पास|पहाड़ों के बीच] [रहते थे|काम करते थे]।",
        "बच्चे [आँगन|बगीचे] में [खेल रहे थे|गा रहे थे] और [उनकी माँ|शिक्षक] [किताब पढ़ रहे थे|खाना बना रहे थे]।",
        "[सर्दियों|बरसात] में शहर [बहुत शांत|लगभग खाली] [लगता है|हो जाता है], [खासकर|यहाँ तक कि] [शाम को|त्योहार के बाद]।",
    ],
}
LANGUAGES = sorted(_TEMPLATES)


def foreign(rng: Random) -> Iterator[tuple[str, str]]:
    """(language, document of two or three paragraphs), the languages taking turns."""
    while True:
        for language in LANGUAGES:
            writer = Writer(rng, {}, english=False)
            paragraphs = [writer.some(language, _TEMPLATES[language], 6, 9) for _ in range(rng.randint(2, 3))]
            yield language, "\n\n".join(paragraphs)
